"""What a score depends on, and two items side by side, in a real browser."""

import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

import evqa
from evqa.explaining.explain import explain
from evqa.types import Record

WAIT = 60_000


def panel_of(tab, name):
    tab.get_by_role("tab", name=name, exact=True).click()
    return tab.locator("[role=tabpanel]:visible")


def test_why_shows_the_numbers_of_the_command_and_says_what_they_are(visit, served, clips, finished):
    tab = visit(served)
    panel = panel_of(tab, "Why")
    button = panel.get_by_role("button", name="Show what the score depends on")
    button.click()
    panel.get_by_role("alert").get_by_text("Choose a file first.").wait_for(timeout=WAIT)
    panel.locator("input[type=file]").first.set_input_files(clips[2])
    panel.locator(".evqa-preview").wait_for(timeout=WAIT)
    panel.get_by_label("Title").fill("A dog")
    button.click()
    found = panel.locator(".evqa-why")
    found.wait_for(timeout=WAIT)
    assert found.locator(".evqa-plot svg").count() == 1
    found.get_by_text("The numbers").click()
    cells = [row.split("\t") for row in found.locator("tbody").inner_text().splitlines()]
    expected = explain(evqa.load(finished.path), Record(id="x", paths=(clips[2],), texts={"title": "A dog"}))
    scores = [one.score for one in (*expected.openings, *expected.hidden_seconds, *expected.hidden_modalities)]
    assert [float(cell[1]) for cell in cells] == pytest.approx(scores, abs=1e-4)
    assert cells[-1][0] == "without text"
    assert "not what makes people stay" in found.inner_text()


def test_one_video_under_two_titles_is_compared_and_the_same_twice_is_refused(visit, served, clips, finished):
    tab = visit(served)
    panel = panel_of(tab, "Compare")
    panel.locator("input[type=file]").first.set_input_files(clips[3])
    panel.locator(".evqa-preview").wait_for(timeout=WAIT)
    button = panel.get_by_role("button", name="Compare", exact=True)
    button.click()
    panel.get_by_role("alert").get_by_text("A and B are the same").wait_for(timeout=WAIT)
    panel.get_by_label("Title B").fill("A cat that sings " * 4)
    button.click()
    found = panel.locator(".evqa-compared")
    found.wait_for(timeout=WAIT)
    records = [
        Record(id=title, paths=(clips[3],), texts={"title": title} if title else {})
        for title in ("", "A cat that sings " * 4)
    ]
    first, second = (score.value for score in evqa.load(finished.path).score(records))
    cells = found.locator("tbody td").all_inner_texts()
    assert cells[0] == "ECR"
    assert [float(cell) for cell in cells[1:3]] == pytest.approx([first, second], abs=1e-3)
    assert float(cells[3]) == pytest.approx(second - first, abs=2e-4)
    assert found.locator(".evqa-card").count() == 2
    assert "a small one may mean nothing" in found.inner_text()


def test_several_scorers_on_one_video_and_who_waits_is_told_so(visit, serve, clips, finished, tmp_path):
    table = tmp_path / "long.csv"
    table.write_text("id,path\n" + "".join(f"{number},{clips[0].name}\n" for number in range(20_000)))
    with serve("--scorer", finished.path, "--scorer", finished.path, "--max-waiting", "1") as two:
        tab, other, third = (visit(two, may_refuse=True) for _ in range(3))
        panel = panel_of(tab, "Compare")
        panel.locator("input[type=file]").first.set_input_files(clips[3])
        panel.locator(".evqa-preview").wait_for(timeout=WAIT)
        panel.get_by_label("Title B").fill("A cat")
        panel.get_by_role("button", name="Compare", exact=True).click()
        found = panel.locator(".evqa-compared")
        found.wait_for(timeout=WAIT)
        rows = [row.split("\t") for row in found.locator("tbody").first.inner_text().splitlines()]
        assert [row[0] for row in rows] == [finished.path.name, f"{finished.path.name} (2)"]
        assert rows[0][1:] == rows[1][1:]
        assert found.locator(".evqa-card").count() == 4

        panel = panel_of(tab, "Many")
        panel.locator("input[type=file]").set_input_files([clips[0], table])
        panel.get_by_label("long.csv").wait_for(timeout=WAIT)
        panel.get_by_role("button", name="Score all").click()
        panel.locator(".evqa-progress").wait_for(timeout=WAIT)
        other.locator("input[type=file]").first.set_input_files(clips[1])
        other.locator(".evqa-preview").first.wait_for(timeout=WAIT)
        other.get_by_role("button", name="Score", exact=True).click()
        other.get_by_text("queue: 1/1").wait_for(timeout=WAIT)
        with pytest.raises(QueueError, match="Queue is full"):
            Client(two.address, verbose=False).predict(handle_file(clips[0]), api_name="/score")
        third.get_by_role("button", name="Score", exact=True).click()
        third.get_by_text("currently busy").first.wait_for(timeout=WAIT)
        panel.get_by_role("button", name="Stop").click()
        other.locator(".evqa-card").wait_for(timeout=WAIT)
