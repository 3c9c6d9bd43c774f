"""Reports that lie below a folder of runs, in a real browser: whoever wrote them, they are shown and do nothing."""

import os
import shutil
import socket
import threading
import time

import pytest

from evqa.errors import FileError, RunError
from evqa.web.run_folders import RunFolders
from evqa.web.run_kept_reports import MAX_BYTES, find_reports, frame, kept_report

WAIT = 60_000
PLANTED = """<!doctype html><html><head><meta http-equiv="refresh" content="0;url=http://HOST/refresh">
<meta http-equiv="x-dns-prefetch-control" content="on"><base href="http://HOST/" target="_top">
<link rel="preconnect" href="http://HOST/"><LINK/rel=stylesheet href=http://HOST/style><script>top.evil = 1</script>
<style>@import "http://HOST/import"; p { background: url(http://HOST/background) }</style></head>
<body onload="top.evil = 2"><h1>Planted</h1><p>text</p><img src="http://HOST/image" onerror="top.evil = 3">
<img src="/gradio_api/info"><iframe src="http://HOST/frame"></iframe>
<object data="http://HOST/object"></object><embed src="http://HOST/embed">
<video autoplay src="http://HOST/video"></video><svg><image href="http://HOST/svg"/></svg>
<a target="_top" href="http://HOST/top" ping="http://HOST/ping">top</a>
<a title="x" href="http://HOST/" target="_blank">blank</a>
<svg height="20"><a><animate attributeName="href" values="http://HOST/moved"/><text y="15">moved</text></a></svg>
<form action="http://HOST/form" method="post" target="_top"><button>send</button></form></body></html>"""


@pytest.fixture(scope="module")
def listener():
    """Another host: a port with the number of connections that anybody has made to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def answer():
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                asked.append(address)
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finished, listener):
    """A folder with a run, a report of it, and one that somebody has planted."""
    from evqa.report import main

    place = tmp_path_factory.mktemp("reported")
    shutil.copytree(finished.path, place / "demo/whole", ignore=shutil.ignore_patterns("*.ckpt"))
    assert main([str(place / "demo"), "--out", str(place / "demo/reports/first")]) == 0
    (place / "planted").mkdir()
    (place / "planted/report.json").write_text("[]")
    (place / "planted/report.html").write_text(PLANTED.replace("HOST", listener[0]))
    return place


@pytest.fixture(scope="module")
def served_runs(serve, folder):
    with serve("--runs", folder) as page:
        yield page


def open_report(tab, name):
    tab.get_by_role("tab", name="Report").click()
    tab.get_by_label("Reports that lie here").click()
    tab.get_by_role("option", name=name).click()
    tab.get_by_text(f"it lies at {name}/report.html").wait_for(timeout=WAIT)
    return tab.locator("iframe.evqa-report").content_frame


def test_a_report_is_shown_with_its_date_and_place(visit, served_runs):
    tab = visit(served_runs)
    report = open_report(tab, "demo/reports/first")
    report.get_by_role("heading", name="Report on 1 runs").wait_for(timeout=WAIT)
    assert report.locator("svg").first.is_visible()
    assert tab.get_by_text("UTC by evqa report; it lies at").inner_text().startswith("Made on 20")
    assert report.locator("a").count() > 0
    report.locator("summary", has_text="largest errors").first.click()
    report.locator("a").first.click()
    assert report.get_by_role("heading", name="Report on 1 runs").is_visible()


def test_a_planted_report_does_nothing_and_leads_nowhere(chromium, served_runs, listener):
    host, asked = listener
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto(served_runs.address)
    report = open_report(tab, "planted")
    report.get_by_role("heading", name="Planted").wait_for(timeout=WAIT)
    assert tab.get_by_text("Made at a time that it does not tell by evqa report").is_visible()
    for press in ("top", "blank", "send"):
        report.get_by_text(press, exact=True).click()
    tab.wait_for_timeout(1500)
    assert report.get_by_role("heading", name="Planted").is_visible()
    report.get_by_text("moved").click()
    tab.wait_for_timeout(1500)
    assert asked == []
    assert tab.url.rstrip("/") == served_runs.address
    assert (len(context.pages), tab.evaluate("window.evil")) == (1, None)
    assert not any(host in frame.url for frame in tab.frames)
    context.close()


def test_a_page_of_tags_without_end_takes_no_longer():
    began = time.perf_counter()
    assert "&lt;a &lt;a" in frame("<p>" + "<a " * 3_000_000)
    assert time.perf_counter() - began < 20


def test_a_report_is_an_ordinary_file_of_bounded_size_below_the_folder(tmp_path):
    root = tmp_path / "runs"
    secret = tmp_path / "secret"
    secret.mkdir()
    for folder in (secret, root / "link", root / "pipe", root / "large"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text('{"provenance": {"date": 7}}')
    (secret / "report.html").write_text("secret")
    (root / "away").symlink_to(secret)
    (root / "link/report.html").symlink_to(secret / "report.html")
    os.mkfifo(root / "pipe/report.html")
    (root / "large/report.html").write_text(" " * (MAX_BYTES + 1))
    folders = RunFolders(root)
    assert sorted(find_reports(folders)) == ["large", "link", "pipe"]
    for name, reason in {"large": "10,000,000 bytes", "link": "cannot be read", "pipe": "no ordinary file"}.items():
        with pytest.raises(FileError, match=reason):
            kept_report(folders, name)
    for name in ("../secret", "away", str(secret)):
        with pytest.raises(RunError, match="there is no such report"):
            kept_report(folders, name)
