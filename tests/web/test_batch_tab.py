"""Scoring many files in a real browser, and by the API."""

import json
import re
import shutil

import pytest
from gradio_client import Client, handle_file

from evqa.predict import main as predict

WAIT = 60_000
NUM_ROWS = 20


@pytest.fixture(scope="module")
def batch(tmp_path_factory, clips):
    """A folder of a table with twenty rows and its files: one row leaves the folder, and one file is broken."""
    folder = tmp_path_factory.mktemp("batch")
    paths = [shutil.copy(clip, folder / f"clip ({number}).mp4") for number, clip in enumerate(clips[:NUM_ROWS], 1)]
    (folder / "clip (7).mp4").write_text("<html>Please log in</html>")
    names = [path.name for path in paths[:-1]] + ["../../../../etc/passwd"]
    lines = [f'v{number},{name},"<b>Title</b> {number}"' for number, name in enumerate(names, 1)]
    (folder / "list.csv").write_text("\n".join(["id,path,title", *lines]) + "\n")
    return folder


def choose(tab, *paths):
    tab.get_by_role("tab", name="Many").click()
    tab.locator("input[type=file][multiple]").set_input_files([str(path) for path in paths])
    tab.get_by_label(paths[-1].name).wait_for(timeout=WAIT)


def saved(tab, name, folder):
    with tab.expect_download() as download:
        tab.get_by_role("link", name=f"Download {name}").click()
    download.value.save_as(folder / name)
    return (folder / name).read_text()


def test_a_batch_gives_what_the_command_writes_and_says_what_failed(visit, served, batch, finished, tmp_path, capsys):
    predict([str(batch / "list.csv"), "--scorer", str(finished.path), "--out", str(tmp_path / "own.csv")])
    tab = visit(served)
    choose(tab, *sorted(batch.iterdir()))
    tab.get_by_role("button", name="Score all").click()
    tab.get_by_text("18 scored, 2 failed").wait_for(timeout=WAIT)
    assert saved(tab, "scores.csv", tmp_path) == (tmp_path / "own.csv").read_text()
    failures = saved(tab, "failures.csv", tmp_path).splitlines()
    assert failures[0] == "Id,error,table,row"
    assert [line.split(",")[0] for line in failures[1:]] == ["v7", "v20"]
    shown = tab.get_by_role("region", name="2 without a score").inner_text()
    assert "would leave the folder of your files; name a file below it" in shown
    for reason in (line.partition(",")[2].rpartition(",list.csv")[0].strip('"') for line in failures[1:]):
        assert reason in shown
    text = tab.locator("[role=tabpanel]:visible").inner_text()
    assert "No row names clip (20).mp4; what no row names is not scored." in text
    assert served.files not in text


def test_the_table_sorts_by_keyboard_too(visit, served, clips):
    tab = visit(served)
    choose(tab, *clips[:6])
    tab.get_by_role("button", name="Score all").click()
    tab.get_by_text("6 scored, 0 failed").wait_for(timeout=WAIT)
    column = tab.get_by_role("region", name="Scores").locator("tbody td:nth-child(2)")
    before = column.all_inner_texts()
    tab.get_by_role("button", name="ECR").press("Enter")
    assert column.all_inner_texts() == sorted(before) != before
    tab.get_by_role("button", name="ECR").press("Enter")
    assert column.all_inner_texts() == sorted(before)[::-1]


def test_a_stopped_batch_shows_and_keeps_what_is_done(visit, served, clips, tmp_path):
    rows = [f"{number},{clips[0].name}" for number in range(5000)]
    (tmp_path / "long.csv").write_text("\n".join(["id,path", *rows]) + "\n")
    tab = visit(served)
    choose(tab, clips[0], tmp_path / "long.csv")
    tab.get_by_role("button", name="Score all").click()
    tab.locator(".evqa-progress", has_text=re.compile(r"[1-9]\d* of 5000, .* left")).wait_for(timeout=WAIT)
    assert tab.get_by_role("region", name="so far").is_visible()
    tab.get_by_role("button", name="Stop").click()
    ending = tab.get_by_text(re.compile(r"Stopped after \d+ of 5000: \d+ scored, 0 failed"))
    ending.wait_for(timeout=WAIT)
    num_scored = int(ending.inner_text().split()[2])
    assert 0 < num_scored < 5000
    assert len(saved(tab, "scores.csv", tmp_path).splitlines()) == 1 + num_scored


def test_programs_score_many_and_get_the_same_sentences(served, batch):
    client = Client(served.address, verbose=False)
    table, clip, broken = (handle_file(batch / name) for name in ("list.csv", "clip (1).mp4", "clip (7).mp4"))
    answer = client.predict(files=[table, clip, broken], api_name="/score_many")
    first, *others = answer["items"]
    assert (first["id"], first["status"]) == ("v1", "scored")
    reasons = {row["id"]: row["error"] for row in others}
    assert len(reasons) == NUM_ROWS - 1
    assert reasons["v2"] == "no video clip (2).mp4 in the folder of your files (nor with another extension)"
    assert client.predict(files=[], api_name="/score_many") == {"error": "Choose a file first."}
    twice = client.predict(files=[clip, clip], api_name="/score_many")
    assert twice == {"error": "clip (1).mp4: two of the files have this name; rename one."}


def test_bytes_that_are_no_text_are_shown_as_such(visit, served, clips, tmp_path):
    rows = [{"id": "f\udcfcr", "path": clips[0].name}, {"id": "<i>b\udce9", "path": "none.mp4"}]
    (tmp_path / "bytes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tab = visit(served)
    choose(tab, clips[0], tmp_path / "bytes.jsonl")
    tab.get_by_role("button", name="Score all").click()
    tab.get_by_text("1 scored, 1 failed").wait_for(timeout=WAIT)
    assert tab.get_by_role("region", name="Scores").get_by_role("rowheader").inner_text() == r"f\udcfcr"
    assert tab.get_by_role("region", name="1 without").get_by_role("rowheader").inner_text() == r"<i>b\udce9"
    client = Client(served.address, verbose=False)
    files = [handle_file(tmp_path / "bytes.jsonl"), handle_file(clips[0])]
    assert client.predict(files=files, api_name="/score_many")["items"][0]["id"] == r"f\udcfcr"
