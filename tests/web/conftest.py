"""A page that is really served, and a browser that really opens it."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Served:
    """A process of `evqa serve`; log: what it has written."""

    def __init__(self, process, log):
        self.process, self.log = process, log

    @property
    def address(self):
        return re.search(r"The page: (http://\S+)/ ", self.log.read_text())[1]

    @property
    def files(self):
        return re.search(r"uploads lie in (\S+) until", self.log.read_text())[1]


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """Call with arguments of `evqa serve`, as a context that ends the process; a free port is taken.

    program: what Python runs in place of `evqa serve`.
    """

    @contextmanager
    def serving(*arguments, program=("-m", "evqa.serve")):
        log = tmp_path_factory.mktemp("page") / "log"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, *program, "--port", "0", *map(str, arguments)]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=log.parent)
        try:
            for _ in range(1200):
                if "The page: " in log.read_text() or process.poll() is not None:
                    break
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
            assert "The page: " in log.read_text(), log.read_text()
            yield Served(process, log)
        finally:
            process.terminate()
            process.wait(20)

    return serving


@pytest.fixture(scope="session")
def served(serve, finished):
    """The page of a small run that was trained on both modalities."""
    with serve("--scorer", finished.path) as page:
        yield page


@pytest.fixture(scope="session")
def chromium():
    """A headless browser."""
    if CHROMIUM is None:
        assert os.environ.get("CI") != "true", "CI needs Chromium"
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Call with a served page (and options of Playwright's contexts): a visitor's tab.

    At the end no tab may have asked another host, or have met an error of the page.
    """
    contexts, troubles = [], []

    def open_tab(served, *, may_refuse=False, **options):
        context = chromium.new_context(viewport=options.pop("viewport", {"width": 1200, "height": 1000}), **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        if not may_refuse:
            tab.on("console", lambda message: message.type == "error" and troubles.append(message.text))
        tab.on("request", lambda request: _is_foreign(request.url, served) and troubles.append(request.url))
        tab.goto(served.address)
        tab.get_by_role("tab").first.wait_for(timeout=60_000)
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert not troubles


def _is_foreign(url, served):
    return not url.startswith((served.address, "data:", "blob:", "about:"))


@pytest.fixture(scope="session")
def clips(workplace, finished):
    """Paths of small clips."""
    return sorted(next((workplace / "synthetic").glob("v*-40-16/videos")).iterdir())
