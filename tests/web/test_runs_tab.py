"""A folder of runs in a real browser: what runs say is shown, never trusted, and nothing is written among them."""

import json
import os
import shutil
import time

import httpx
import pytest
from gradio_client import Client

from evqa.metrics.evaluation import evaluate
from evqa.metrics.score_table import read_labels
from tests.web.visiting import contrast, reach

WAIT = 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finished):
    """A folder with a finished run, one that was stopped, and one whose settings are damaged."""
    place = tmp_path_factory.mktemp("runs")
    shutil.copytree(finished.path, place / "demo/whole", ignore=shutil.ignore_patterns("*.ckpt"))
    for name in ("<img src=x onerror=alert(1)>", "damaged"):
        (place / "demo" / name).mkdir()
    shutil.copy(finished.path / "config.yaml", place / "demo/<img src=x onerror=alert(1)>")
    (place / "demo/<img src=x onerror=alert(1)>/metrics.jsonl").write_text('{"step": 3, "train/loss": 0.5}\n')
    (place / "demo/damaged/config.yaml").write_text("data: [")
    (place / os.fsdecode(b"b\xe9")).mkdir()
    (place / os.fsdecode(b"b\xe9/config.yaml")).write_text("data: [")
    for name in ("blind", "exact", "turned"):
        shutil.copytree(finished.path, place / "splits" / name, ignore=shutil.ignore_patterns("*.ckpt"))
        add_test_split(place / "splits" / name / "predictions", name)
    return place


def add_test_split(folder, name):
    """Write predictions of a further split: as its labels are, turned about, or of items without labels."""
    for kind in ("csv", "targets.csv"):
        shutil.copy(folder / f"val.{kind}", folder / f"test.{kind}")
    labels = read_labels(folder / "test.targets.csv", label="ECR").values
    if name == "blind":
        (folder / "test.targets.csv").unlink()
    scores = {id_: -label if name == "turned" else label for id_, label in labels.items()}
    (folder / "test.csv").write_text("Id,ECR\n" + "".join(f"{id_},{score}\n" for id_, score in scores.items()))
    known = [float("nan") if name == "blind" else label for label in labels.values()]
    record = {"split": "test", **evaluate(list(scores.values()), known).to_json()}
    (folder / "test.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def served_runs(serve, folder):
    with serve("--runs", folder) as page:
        yield page


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def open_run(tab, name):
    tab.get_by_role("tab", name="One run").click()
    tab.get_by_label("Run", exact=True).click()
    tab.get_by_role("option", name=name).click()
    tab.get_by_role("heading", name=name).or_(tab.get_by_role("alert")).wait_for(timeout=WAIT)


def make_report(tab):
    tab.get_by_role("tab", name="Report").click()
    tab.get_by_role("button", name="Make the report").click()


def test_runs_are_listed_with_intervals_and_reasons(visit, served_runs, folder, finished):
    tab = visit(served_runs)
    rows = tab.get_by_role("region", name="demo").locator("tbody tr")
    rows.first.wait_for(timeout=WAIT)
    whole, stopped, damaged = rows.all_inner_texts()
    metric = json.loads((finished.path / "predictions/val.json").read_text())["metrics"]["challenge"]
    assert f"{metric['value']:.4f} (16)" in whole
    assert f"{metric['low']:.4f} to {metric['high']:.4f}" in whole
    assert stopped.startswith("<img src=x onerror=alert(1)>\tstopped")
    assert "no predictions/val.csv (stopped or still running at step 3)" in stopped
    assert damaged.startswith("damaged\tdamaged")
    assert "demo/damaged/config.yaml: cannot be read as YAML" in damaged
    listed = Client(served_runs.address, verbose=False).predict(api_name="/runs")["runs"]
    assert [row["status"] for row in listed] == ["damaged", "finished", "stopped", "damaged"] + 3 * ["finished"]
    assert listed[0]["run"] == r"b\xe9"
    assert (listed[1]["low"], listed[1]["high"]) == (metric["low"], metric["high"])


def test_a_run_shows_curves_and_players_and_a_report_and_stays_as_it_is(visit, served_runs, folder):
    before = contents(folder)
    tab = visit(served_runs)
    open_run(tab, "demo/whole")
    assert tab.get_by_role("img", name="learning curves: training loss and validation").locator("svg").count() == 2
    assert tab.get_by_text("chosen on these items; the last one's 0.6 SROCC + 0.4 PLCC: 0.").is_visible()
    video = tab.locator(".evqa-worst video").first
    video.evaluate("video => new Promise(done => { video.oncanplay = done; video.load(); })")
    assert video.evaluate("video => video.duration") == pytest.approx(2.0, abs=0.1)
    errors = [
        text.rpartition("error ")[2].split()[0] for text in tab.locator(".evqa-worst figcaption").all_inner_texts()
    ]
    sizes = [abs(float(error)) for error in errors]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 12
    make_report(tab)
    report = tab.locator("iframe[sandbox='']")
    report.wait_for(timeout=WAIT)
    text = report.content_frame.locator("body").inner_text()
    assert text.startswith("Report on 2 runs")
    assert "demo/damaged: damaged; it is left out." in text
    open_run(tab, "demo/<img src=x onerror=alert(1)>")
    open_run(tab, r"b\xe9")
    assert "config.yaml: cannot be read as YAML" in tab.get_by_role("alert").inner_text()
    make_report(tab)
    tab.get_by_text(r"b\xe9: damaged; it is left out.").wait_for(timeout=WAIT)
    assert contents(folder) == before


def choose(tab, label, name):
    tab.get_by_label(label, exact=True).click()
    tab.get_by_role("option", name=name, exact=True).click()


def test_another_split_gives_list_and_run_and_says_what_choosing_by_it_is(visit, served_runs):
    tab = visit(served_runs)
    open_run(tab, "splits/turned")
    region = tab.get_by_role("region", name="splits")
    region.get_by_text("(16)").first.wait_for(timeout=WAIT)
    assert tab.get_by_text("is chosen on these items").count() == 0
    choose(tab, "Split", "test")
    tab.get_by_text("A run that is chosen by them is chosen on these items").wait_for(timeout=WAIT)
    rows = region.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[:3] for row in rows] == [
        ["exact", "finished", "1.0000 (16)"],
        ["turned", "finished", "-1.0000 (16)"],
        ["blind", "finished", "-"],
    ]
    assert "16 scored, 0 failed; without labels there is nothing to compare the scores with" in rows[2]
    assert "no predictions/test.csv; it has val" in tab.get_by_role("region", name="demo").inner_text()
    tab.get_by_role("heading", name="The 12 largest errors of test").wait_for(timeout=WAIT)
    assert "-1.0000" in tab.get_by_role("region", name="test: n = 16, 0 failed").inner_text()
    open_run(tab, "splits/blind")
    tab.get_by_text("test: 16 scored, 0 failed; without labels").wait_for(timeout=WAIT)
    assert tab.get_by_role("heading", name="largest errors").count() == 0
    make_report(tab)
    text = tab.frame_locator("iframe").locator("body")
    text.get_by_text("Split 'test', label 'ECR'. n = 16 items.").first.wait_for(timeout=WAIT)


def test_programs_ask_for_a_split(served_runs):
    page = Client(served_runs.address, verbose=False)
    of_test = {row["run"]: row for row in page.predict("test", api_name="/runs")["runs"]}
    assert of_test["splits/turned"]["score"] == -1
    assert of_test["splits/blind"]["problem"].startswith("16 scored, 0 failed; without labels")
    refused = page.predict("../val", api_name="/runs")["error"]
    assert refused.startswith("../val: no run has predictions for this split. Choose one of val, test")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_run_and_its_report_fit_a_narrow_screen_and_the_dark(visit, served_runs, scheme):
    tab = visit(served_runs, viewport={"width": 420, "height": 900}, color_scheme=scheme)
    open_run(tab, "demo/whole")
    tab.locator(".evqa-worst video").first.wait_for(timeout=WAIT)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    for curve in tab.locator(".evqa-curves svg").all():
        assert 300 <= curve.bounding_box()["width"] <= 420
    make_report(tab)
    report = tab.locator("iframe.evqa-report")
    report.wait_for(timeout=WAIT)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    assert report.content_frame.locator("html").evaluate("page => page.scrollWidth <= page.clientWidth")
    listed, page = tab.get_by_role("region", name="demo"), report.content_frame
    for one in (
        listed.locator("td").first,
        listed.locator("thead button").first,
        page.locator("h1"),
        page.locator("td").first,
    ):
        assert contrast(one) >= 4.5


def test_a_run_and_its_report_are_reached_by_keyboard_alone(visit, served_runs):
    tab = visit(served_runs)
    tab.get_by_role("region", name="demo").wait_for(timeout=WAIT)
    tab.wait_for_timeout(1000)  # until what is shown also listens
    reach(tab, "document.activeElement.innerText === 'status'")
    tab.keyboard.press("Enter")
    assert tab.locator("[aria-sort=ascending]").inner_text().startswith("status")
    reach(tab, "document.activeElement.getAttribute('aria-label') === 'Run'")
    for key in (*"whole", "ArrowDown", "Enter"):
        tab.keyboard.press(key)
    tab.get_by_role("heading", name="demo/whole").wait_for(timeout=WAIT)
    reach(tab, "document.activeElement.matches('.evqa-worst video')")
    tab.keyboard.press("Shift+Tab")
    reach(tab, "document.activeElement.innerText === 'Report'", key="Shift+Tab")
    tab.keyboard.press("Enter")
    reach(tab, "document.activeElement.innerText === 'Make the report'")
    tab.keyboard.press("Enter")
    report = tab.locator("iframe.evqa-report")
    report.wait_for(timeout=WAIT)
    reach(tab, "document.activeElement.matches('iframe')")
    opened = report.content_frame.locator("details[open]")
    for _ in range(20):
        reach(tab, "document.activeElement.matches('iframe')")
        tab.keyboard.press("Enter")
        if opened.count():
            return
    raise AssertionError("no fold of the report opens")


def test_three_hundred_runs_are_listed_in_seconds(visit, serve, finished, tmp_path):
    table = [*(finished.path / "predictions/val.csv").read_text().splitlines()]
    long = tmp_path / "val.csv"
    long.write_text("\n".join([table[0], *(f"{n}-{row}" for n in range(500) for row in table[1:]), ""]))
    for number in range(300):
        run = tmp_path / f"runs/many/{number}"
        shutil.copytree(finished.path, run, copy_function=os.link, ignore=shutil.ignore_patterns("*.ckpt", "val.csv"))
        os.link(long, run / "predictions/val.csv")
    with serve("--runs", tmp_path / "runs") as page:
        began = time.perf_counter()
        tab = visit(page)
        rows = tab.get_by_role("region", name="many").locator("tbody tr")
        rows.first.wait_for(timeout=WAIT)
        assert time.perf_counter() - began < 20
        assert rows.count() == 300
        assert tab.get_by_label("Run", exact=True).bounding_box()["y"] < 1000


def test_media_are_given_in_parts_to_visitors_of_the_page_alone(visit, served_runs):
    tab = visit(served_runs)
    open_run(tab, "demo/whole")
    address = tab.locator(".evqa-worst video").first.evaluate("video => video.src")
    assert httpx.get(address).json() == {"error": "Open the page first."}
    with httpx.Client() as visitor:
        visitor.get(served_runs.address)
        whole = visitor.get(address)
        part = visitor.get(address, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        for other in ("../../../etc/passwd", "%2e%2e%2fetc%2fpasswd", "0.mp4"):
            assert visitor.get(f"{served_runs.address}/runs/media/{other}").status_code == 404


def test_only_media_files_go_on_the_shelf(tmp_path):
    from evqa.web.run_media import MediaShelf

    shelf = MediaShelf()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "clip.mp4").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("secret.txt", "clip.mp4", "pipe.mp4", "none.mp4"):
        assert shelf.address(tmp_path / name) is None
    (tmp_path / "real.MP4").write_bytes(b"video")
    key = shelf.address(tmp_path / "real.MP4").rpartition("/")[2]
    assert shelf.place(key) == tmp_path / "real.MP4"
    (tmp_path / "real.MP4").unlink()
    (tmp_path / "real.MP4").symlink_to(tmp_path / "secret.txt")
    assert shelf.place(key) is None


def test_a_page_needs_something_to_show(tmp_path, capsys):
    from evqa.serve import main

    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "There is nothing to show: give --scorer PLACE, --runs FOLDER, or both." in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--runs", str(tmp_path / "none")])
    assert f"--runs {tmp_path / 'none'}: there is no such folder." in capsys.readouterr().err
