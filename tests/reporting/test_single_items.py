"""Titles, links and thumbnails of items; tables, ids and names of files are data."""

import csv
import html
import json
import re

import numpy as np
import pytest
from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.media.encode import write_clip
from evqa.metrics import write_scores
from evqa.report import main
from evqa.reporting.item_media import TITLE_CHARS, file_link, shortened
from evqa.reporting.single_items import disagreements, single_items
from evqa.reporting.study import pool
from evqa.runs.item_records import item_records

IDS = ["clip_0000", '<b>x</b>"', "a](javascript:alert(1))", "missing", "broken", "clip_0005"]
FILES = ["one.mp4", "javascript:alert(1).mp4", "100% [of] #1?.mp4", "missing.mp4", "broken.mp4", "five.mp4"]
TITLES = ["<img src=x onerror=alert(1)>", "long " * 60, "| a * [b](http://c) `", "", "twice\nlined", "five"]
SHOWN = [*TITLES[:1], f"{'long ' * 15}long…", TITLES[2]]


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_run):
    """Two runs of six items of a table: four videos, one that is missing and one that is broken."""
    place = tmp_path_factory.mktemp("items")
    (place / "videos").mkdir()
    for shade, name in enumerate(FILES):
        if name == "broken.mp4":
            (place / "videos" / name).write_bytes(b"no video at all")
        elif name != "missing.mp4":
            frames = np.full((4, 64, 36, 3), 40 * shade + 20, np.uint8)
            write_clip(place / "videos" / name, frames_FHWC=frames, fps=2)
    with (place / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "file", "title", "ECR"])
        rows.writerows(zip(IDS, FILES, TITLES, [0.1, 0.3, 0.5, 0.7, 0.9, 0.2], strict=True))
    for modal in ("av", "v"):
        config = compose(
            [
                f"modal={modal}",
                "data=table",
                f"data.path={place / 'table.csv'}",
                f"data.root={place / 'videos'}",
                "data.path_column=file",
                "data.title_column=title",
                "data.label.name=ECR",
                "data.label.range=[0,1]",
            ]
        )
        folder = make_run(place / "runs", modal=modal, n=len(IDS))
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
        table = (folder / "predictions" / "val.targets.csv").read_text().splitlines()
        with (folder / "predictions" / "val.targets.csv").open("w", newline="") as file:
            rows = [line.split(",")[1:] for line in table[1:]]
            csv.writer(file).writerows(
                [table[0].split(","), *([id_, *row] for id_, row in zip(IDS, rows, strict=True))]
            )
        scores = np.random.default_rng(len(modal)).uniform(size=len(IDS))
        write_scores(folder / "predictions" / "val.csv", dict(zip(IDS, scores, strict=True)), label="ECR")
    return place


@pytest.fixture(scope="module")
def report(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evqa.reporting.writing.draw_all", lambda *_, **__: {})
        assert main([str(place / "runs"), "--out", str(place / "report"), "--baseline", "modal=v"]) == 0
    return place / "report"


def test_the_worst_items_have_thumbnails_titles_and_links(report, place):
    page, text = ((report / name).read_text() for name in ("report.html", "report.md"))
    pictures = re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+" alt="([^"]+)">', page)
    assert len(pictures) == 2 * 4  # of errors and of disagreements
    assert {html.unescape(one) for one in pictures} == {f"Middle frame of {IDS[place]}" for place in (0, 1, 2, 5)}
    assert sorted(one.name for one in (report / "thumbnails").iterdir()) == ["01.jpg", "02.jpg", "03.jpg", "04.jpg"]
    assert all(text.count(f"(thumbnails/0{number}.jpg)") == 2 for number in (1, 2, 3, 4))
    links = set(re.findall(r'<a href="([^"]+)">', page))
    assert links == {
        "../videos/one.mp4",
        "../videos/javascript%3Aalert%281%29.mp4",
        "../videos/100%25%20%5Bof%5D%20%231%3F.mp4",
        "../videos/five.mp4",
        "../videos/broken.mp4",
    }
    assert all(f"]({link})" in text for link in links)
    page = page.replace("<wbr>", "")
    for title in SHOWN:
        assert f"<td>{html.escape(title)}</td>" in page


def test_markup_in_ids_and_titles_stays_text(report):
    page, text = ((report / name).read_text() for name in ("report.html", "report.md"))
    assert not re.search(r"<b>|<img (?!src=\"data:)|javascript:alert\(1\)\"", page)
    assert "[a\\](javascript:alert(1))](../videos/" in text  # the inner bracket does not end the link's text
    assert "\\<img src=x onerror=alert(1)>" in text


def test_what_could_not_be_shown_is_said_once_and_why(report):
    (note,) = [note for note in json.loads((report / "report.json").read_text())["notes"] if "thumbnail" in note]
    assert note.startswith("2 of 6 items have no thumbnail: ")
    assert "no video missing.mp4 in" in note
    assert "(1 item, the first: missing)" in note
    assert (
        "is not a video or audio file in a known format, or its header is damaged (1 item, the first: broken)" in note
    )
    assert len(html.unescape((report / "report.html").read_text()).split("2 of 6 items have no thumbnail")) == 2


def test_tables_that_are_gone_are_one_sentence(make_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("evqa.reporting.writing.draw_all", lambda *_, **__: {})
    make_run(tmp_path / "runs")  # its settings name no data at all
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "report")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    note = "No titles, links and thumbnails of items, and no baseline of texts: audio_ablation/tiny-av-regression-s0"
    assert printed.count(f"{note}'s data") == 1
    assert not (tmp_path / "report" / "thumbnails").exists()
    assert "<img" not in (tmp_path / "report" / "report.html").read_text()


def test_the_items_of_a_run_are_those_of_its_own_tables(finished):
    id_ = (finished.path / "predictions" / "val.csv").read_text().splitlines()[1].partition(",")[0]
    found = item_records(finished.path, [id_], split="val").records[id_]
    assert found.paths[0].is_file()
    assert "title" in found.texts


def test_items_are_ordered_by_how_far_two_settings_lie_apart(tmp_path, make_run):
    from evqa.reporting.comparing import compare
    from evqa.reporting.runs import read_run

    runs = [
        read_run(make_run(tmp_path, modal=modal, seed=seed), split="val") for modal in ("v", "av") for seed in (0, 1)
    ]
    study = compare(pool(runs, split="val", num_resamples=20), baseline={"modal": "v"})
    shown = single_items(study)
    assert [one.name for one in shown.pair] == ["modal=av", "modal=v"]
    means = [one.scores_SN.mean(axis=0) for one in shown.pair]
    largest = np.argsort(-np.abs(means[0] - means[1]))[:20]
    assert [one.id for one in shown.apart] == [study.ids[place] for place in largest]
    assert shown.apart[0].first - shown.apart[0].second == pytest.approx((means[0] - means[1])[largest[0]])
    assert len(shown.pictured) <= 40
    assert disagreements(study, shown.pair[0], shown.pair[0]) == []


def test_titles_are_cut_with_an_ellipsis_and_links_have_no_scheme(tmp_path):
    assert shortened("a\n b\t c") == "a b c"
    assert shortened("x" * TITLE_CHARS) == "x" * TITLE_CHARS
    assert shortened("x" * (TITLE_CHARS + 1)) == "x" * (TITLE_CHARS - 1) + "…"
    assert file_link(tmp_path / "javascript:1.mp4", tmp_path) == "javascript%3A1.mp4"
    assert file_link(tmp_path / "a" / "b c.mp4", tmp_path / "report") == "../a/b%20c.mp4"
