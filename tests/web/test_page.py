"""The whole page: narrow and dark, by keyboard alone, and many visitors at once."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import evqa
from evqa.types import Record
from tests.web.test_guard import as_file, call, upload
from tests.web.visiting import open_by_name, reach

WAIT = 60_000


def tabs(tab):
    return [one for one in ("Score", "Why", "Compare", "Many") if tab.get_by_role("tab", name=one).count()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways_and_is_readable_in_the_dark(visit, served, scheme):
    tab = visit(served, viewport={"width": 420, "height": 900}, color_scheme=scheme)
    assert "Score" in tabs(tab)
    for name in tabs(tab):
        open_by_name(tab, name)
        tab.wait_for_timeout(200)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 420, name
    ground, ink = (tab.evaluate(f"getComputedStyle(document.body).{key}") for key in ("backgroundColor", "color"))
    ground, ink = (sum(int(value) for value in colour[4:-1].split(",")[:3]) for colour in (ground, ink))
    assert (ground < 150 < 600 < ink) if scheme == "dark" else (ink < 150 < 600 < ground)


def test_a_file_is_scored_by_keyboard_alone(visit, served, clips):
    tab = visit(served)
    # from the start: Playwright does not wait until the browser has heard that a chooser is expected
    tab.on("filechooser", lambda chooser: chooser.set_files(clips[0]))
    tab.get_by_text("Click to Upload").first.wait_for(timeout=WAIT)
    tab.wait_for_timeout(1000)  # until what is shown also listens
    reach(tab, "document.activeElement.getAttribute('role') === 'tab'")
    reach(
        tab, "document.activeElement.matches('button') && document.activeElement.innerText.includes('Click to Upload')"
    )
    tab.keyboard.press("Enter")
    tab.locator(".evqa-preview").first.wait_for(timeout=WAIT)
    reach(tab, "document.activeElement.closest('label')?.innerText.includes('Title')")
    tab.keyboard.type("A dog")
    reach(tab, "document.activeElement.innerText === 'Score' && document.activeElement.className.includes('primary')")
    tab.keyboard.press("Enter")
    tab.locator(".evqa-card").wait_for(timeout=WAIT)


def test_ten_visitors_at_once_get_their_own_scores(served, clips, finished):
    titles = [f"title {number}" * number for number in range(10)]

    def ask(number):
        with httpx.Client(base_url=served.address, timeout=120) as client:
            client.get("/").raise_for_status()
            (path,) = upload(client, clips[number]).json()
            return call(client, "score", as_file(path), titles[number], "", "", "")["score"]

    with ThreadPoolExecutor(10) as pool:
        shown = list(pool.map(ask, range(10)))
    records = [
        Record(id=str(n), paths=(clips[n],), texts={"title": title} if title else {}) for n, title in enumerate(titles)
    ]
    assert shown == pytest.approx([score.value for score in evqa.load(finished.path).score(records)], abs=1e-5)
    assert len(set(shown)) == 10
