"""Make the README's pictures of the page: `make pictures`. The clip is one that evqa has made itself.

python -m tests.web.pictures runs/page/engagement
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHECKOUT = Path(__file__).parents[2]
PICTURES = CHECKOUT / "docs/pictures"
WAIT = 120_000
TABS = {"Score": ("Score", ".evqa-card"), "Why": ("Show what the score depends on", ".evqa-why")}


def main(run):
    clip = min(CHECKOUT.glob("cache/synthetic/*/videos/*.mp4"))
    command = [sys.executable, "-m", "evqa.serve", "--scorer", run, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = next(line for line in server.stderr if line.startswith("The page: "))
            photograph(line.split()[2], clip)
        finally:
            server.terminate()


def photograph(address, clip):
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 700})
        tab.goto(address)
        for name, (button, result) in TABS.items():
            tab.get_by_role("tab", name=name, exact=True).click()
            panel = tab.locator("[role=tabpanel]:visible")
            panel.locator("input[type=file]").first.set_input_files(clip)
            panel.locator(".evqa-preview").wait_for(timeout=WAIT)
            panel.get_by_label("Title").fill("My dog learns a trick")
            panel.get_by_role("button", name=button, exact=True).click()
            panel.locator(result).wait_for(timeout=WAIT)
            tab.wait_for_timeout(1000)
            tab.screenshot(path=PICTURES / f"page_{name.lower()}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
