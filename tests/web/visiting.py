"""What several tests do with a visitor's tab."""

CONTRAST = """element => {
    const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true})
    const rgba = colour => {
        pixel.clearRect(0, 0, 1, 1)
        pixel.fillStyle = colour
        pixel.fillRect(0, 0, 1, 1)
        return [...pixel.getImageData(0, 0, 1, 1).data]
    }
    let ground = [255, 255, 255]
    for (let one = element; one; one = one.parentElement) {
        const found = rgba(getComputedStyle(one).backgroundColor)
        if (found[3] === 255) { ground = found; break }
    }
    const linear = part => part <= 10 ? part / 255 / 12.92 : ((part / 255 + .055) / 1.055) ** 2.4
    const light = colour => .2126 * linear(colour[0]) + .7152 * linear(colour[1]) + .0722 * linear(colour[2])
    const [low, high] = [light(ground), light(rgba(getComputedStyle(element).color))].sort((a, b) => a - b)
    return (high + .05) / (low + .05)
}"""


def open_by_name(tab, name):
    """Open one of the page's tabs, which a narrow page keeps in a menu."""
    one = tab.get_by_role("tab", name=name)
    if one.is_visible():
        one.click()
        return
    tab.get_by_role("button", name="More tabs").or_(tab.locator(".overflow-menu > button")).first.click()
    tab.locator(".overflow-dropdown").get_by_text(name, exact=True).click()


def reach(tab, condition, *, key="Tab"):
    """Press the tab key until the focus is there."""
    for _ in range(40):
        tab.keyboard.press(key)
        if tab.evaluate(f"Boolean({condition})"):
            return
    raise AssertionError(condition)


def contrast(found):
    """How far the ink of an element stands out from its ground, 1 to 21 (WCAG 2.2, 1.4.3: 4.5 at least)."""
    return found.evaluate(CONTRAST)
