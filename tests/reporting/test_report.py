import html
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from evqa.files.names import shown
from evqa.metrics import challenge
from evqa.report import main
from evqa.reporting.canvas import SCREEN
from evqa.reporting.comparing import compare
from evqa.reporting.document import Bullets, Heading, Paragraph, Picture, TableBlock, to_html, to_markdown
from evqa.reporting.item_plots import plot_scatter
from evqa.reporting.pages import compose
from evqa.reporting.plots import CAPTIONS, MAX_SETTINGS, draw_all
from evqa.reporting.runs import find_runs, read_run
from evqa.reporting.study import pool
from evqa.reporting.writing import log_to_wandb


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("runs")
    for modal in ("v", "av"):
        for seed in range(2):
            make_run(root, modal=modal, seed=seed)
    make_run(root, seed=7, finished=False)
    return root


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert main([str(runs), "--out", str(folder), "--baseline", "modal=v", "--title", "Does <audio> help?"]) == 0
    return folder


def test_a_report_has_text_page_numbers_items_and_pictures(report):
    pictures = {"settings", "differences", "scatter", "residuals", "learning_curves", "slices"}
    assert {path.name for path in report.iterdir()} == {
        "report.md",
        "report.html",
        "report.json",
        "items.csv",
        "settings.csv",
        "settings.tex",
        *(f"{name}.png" for name in pictures),
    }
    for name in pictures:
        image = np.asarray(Image.open(report / f"{name}.png").convert("L"))
        assert image.shape[1] > 600
        assert image.std() > 5
        assert f"({name}.png)" in (report / "report.md").read_text()


def test_the_page_needs_nothing_from_elsewhere(report):
    page = (report / "report.html").read_text()
    assert not re.search(r"https?://|src=\"(?!data:)|<script|@import|<link", page)
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references <= set(ids)
    assert "<title>Does &lt;audio&gt; help?</title>" in page


def test_the_text_gives_the_answer_first(report):
    lines = [line for line in (report / "report.md").read_text().splitlines() if line]
    assert lines[0] == "# Does \\<audio> help?"
    assert lines[1].startswith("- Highest 0.6 SROCC + 0.4 PLCC on val, n = 120 items: modal=av")
    assert lines[2].startswith("- It is the best of 2 settings on these items")
    assert lines[3].startswith("- Each checkpoint was chosen on these items")
    assert lines[4].startswith("- modal=av is better than modal=v")
    assert any("tiny-av-regression-s7: no predictions/val.csv" in line.replace("\\", "") for line in lines)


def test_the_numbers_are_there_for_machines(report):
    numbers = json.loads((report / "report.json").read_text())
    assert [one["name"] for one in numbers["settings"]] == ["modal=av", "modal=v"]
    (comparison,) = numbers["comparisons"]
    assert comparison["difference"]["low"] > 0
    assert comparison["p_holm"] == comparison["p"]
    assert set(comparison["items_only"]) >= {"p", "p_holm"}
    assert [set(one) for one in numbers["settings"][0]["chosen_on_these_items"]] == [{"place", "last"}] * 2
    assert len(numbers["unfinished"]) == 1
    assert (report / "items.csv").read_text().startswith("Id,ECR,modal=av,modal=v\nclip_0000,")


def test_the_same_runs_give_the_same_pictures(runs, report, tmp_path):
    study = compare(
        pool([read_run(path, split="val") for path in find_runs([runs]).folders], split="val"), baseline={"modal": "v"}
    )
    for name, drawn in draw_all(study, tmp_path, only=("settings", "scatter")).items():
        assert (tmp_path / drawn.file).read_bytes() == (report / drawn.file).read_bytes()
        assert drawn.svg in (report / "report.html").read_text(), name


def test_a_report_without_labels_or_history_is_still_one(tmp_path, make_run):
    folder = make_run(tmp_path / "runs", targets=False)
    (folder / "metrics.jsonl").unlink()
    assert main([str(folder), "--out", str(tmp_path / "report")]) == 0
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.md",
        "report.html",
        "report.json",
        "settings.csv",
        "settings.tex",
        "settings.png",
    }


def test_what_the_user_can_mend_is_a_sentence_and_exit_code_2(runs, tmp_path, capsys):
    for arguments, message in [
        (["nowhere"], "nowhere: not a folder. Give run folders"),
        ([str(runs), "--baseline", "modal"], "--baseline modal: write AXIS=VALUE, for instance modal=v."),
        ([str(runs), "--format", "pdf,jpg"], "--format pdf,jpg: 'jpg' is no format; give pdf, svg, png, or several"),
        ([str(runs), "--split", "test"], "No run has predictions for 'test'"),
        ([str(runs), "--labels", str(tmp_path / "no.csv")], "no.csv: cannot be read as a table"),
    ]:
        assert main([*arguments, "--out", str(tmp_path / "report")]) == 2
        assert message in capsys.readouterr().err


def test_a_scatter_plot_is_titled_by_the_metric_of_the_scores_that_it_shows(tmp_path, make_run):
    runs = [read_run(make_run(tmp_path, modal="v", seed=seed, noise=0.2), split="val") for seed in range(3)]
    study = pool(runs, split="val", num_resamples=20)
    of_means = challenge(study.best.scores_SN.mean(axis=0), study.labels_N).value
    assert f"{of_means:.3f}" != f"{study.best.metrics['challenge'].mean:.3f}"
    titles = [panel.get_title() for panel in plot_scatter(study, study.settings, SCREEN).axes]
    assert titles == [f"all runs\n0.6 SROCC + 0.4 PLCC {of_means:.3f}"]
    assert "The number above is of these mean scores" in CAPTIONS["scatter"][1]


def test_settings_without_a_colour_are_counted_where_they_are_left_out(tmp_path, make_run):
    runs = [
        read_run(make_run(tmp_path, name=f"r{rank}", overrides=[f"lora=r{rank}"], n=40), split="val")
        for rank in range(MAX_SETTINGS + 1)
    ]
    for settings, said in [
        (runs, f" Shown are {MAX_SETTINGS} of {MAX_SETTINGS + 1} settings: the best."),
        (runs[1:], ""),
    ]:
        study = pool(settings, split="val", num_resamples=20)
        drawn = draw_all(study, tmp_path, only=("settings", "residuals", "slices"))
        assert {name: "Shown are" in one.caption for name, one in drawn.items()} == {
            "settings": False,
            "residuals": bool(said),
            "slices": bool(said),
        }
        table = next(b for b in compose(study, {}) if getattr(b, "caption", "").startswith("All parts in numbers."))
        assert table.caption == f"All parts in numbers.{said}"
        assert "regression to the mean" in drawn["slices"].caption


def test_blocks_show_markup_as_text():
    blocks = [
        Heading(text="a_b"),
        Paragraph(text="1 < 2 & *x*"),
        Bullets(items=("one|two",)),
        TableBlock(columns=("name", "n"), rows=(("<b>", "1"),), caption="c", folded=True),
        Picture(file="p.png", svg="<svg></svg>", description='a "q"', caption="below"),
    ]
    page, text = to_html("t", blocks), to_markdown("t", blocks)
    assert "<p>1 &lt; 2 &amp; *x*</p>" in page
    assert '<td>&lt;b&gt;</td><td class="number">1</td>' in page
    assert 'aria-label="a &quot;q&quot;"' in page
    assert "## a\\_b" in text
    assert "- one\\|two" in text
    assert "| \\<b> | 1 |" in text


def test_help_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys\nfrom evqa.report import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)\n"
    )
    assert "--baseline" in subprocess.check_output([sys.executable, "-c", code], text=True)


def test_tables_and_pictures_go_to_wandb_offline(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    read = [read_run(path, split="val") for path in find_runs([runs]).folders]
    study = compare(pool(read, split="val", num_resamples=100))
    pictures = draw_all(study, tmp_path, only=("settings", "differences"))
    log_to_wandb(study, tmp_path, pictures, title="test", mode="offline")
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    ends = time.monotonic() + 30  # wandb's own process writes the file a moment after the run is finished
    while b"differences" not in log.read_bytes() and time.monotonic() < ends:
        time.sleep(0.1)
    assert b"differences" in log.read_bytes()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_tables_and_pictures_without_network(report, tmp_path, scheme):
    page = (report / "report.html").resolve().as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--force-dark-mode"] if scheme == "dark" else []
    shot = tmp_path / "page.png"
    run = [CHROMIUM, *flags, "--window-size=1150,3600", f"--screenshot={shot}", page]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    image = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    corner = image[2, 2].tolist()
    assert corner == ([255, 255, 255] if scheme == "light" else [20, 23, 29])
    for name, colour in {"modal=av": (0, 114, 178), "modal=v": (213, 94, 0)}.items():
        near = np.abs(image - np.array(colour)).sum(axis=2) < 40
        assert near.sum() > 500, name  # the settings' colours, in several pictures
        assert np.ptp(np.flatnonzero(near.any(axis=1))) > 1500
    text = np.abs(image - image[2, 2]).sum(axis=2) > 150
    assert text.any(axis=1).mean() > 0.4


def test_an_unfinished_run_is_listed_and_not_ranked(tmp_path, make_run, capsys):
    make_run(tmp_path / "runs", modal="v")
    killed = make_run(tmp_path / "runs", modal="av")
    (killed / "predictions" / "finished").unlink()
    (tmp_path / "runs" / "empty").mkdir()
    places = [str(place) for place in (tmp_path / "runs").iterdir()]  # as a shell makes them of a pattern
    assert main([*places, "--out", str(tmp_path / "report")]) == 0
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [run for one in numbers["settings"] for run in one["runs"]] == [
        str(killed.with_name("tiny-v-regression-s0"))
    ]
    sentence = "the run is not finished (stopped or still running at step 199); its predictions/val.csv is left out"
    assert numbers["unfinished"] == {str(killed): sentence}
    shown = capsys.readouterr().out
    assert "missing: audio_ablation/tiny-av-regression-s0: the run is not finished" in shown
    assert "runs/empty: no run in it" in "".join(shown.split("\n"))
    assert main([str(killed), "--out", str(tmp_path / "report")]) == 2
    assert "No run has predictions for 'val':\n  audio_ablation/tiny-av-regression-s0: the" in capsys.readouterr().err


def test_names_are_text_in_every_part_of_a_report(tmp_path, make_run, capsys):
    odd = "[red]x esc\x1b[31m a|b`c`<i>$x$&lt; *~_ " + os.fsdecode(b"caf\xe9")
    for modal in ("v", "av"):
        make_run(tmp_path / "runs", modal=modal, name=f"{modal}{odd}", overrides=[f"note={modal}{odd}"])
    targets = next((tmp_path / "runs").rglob("val.targets.csv"))
    for file in targets.parents[2].rglob("val*.csv"):
        file.write_bytes(file.read_bytes().replace(b"clip_0000", b"clip" + os.fsencode(odd)))
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "report"), "--title", odd]) == 0
    page, text = ((tmp_path / "report" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert html.escape(shown(f"note=av{odd}")) in page
    assert shown(f"note=av{odd}").replace("\\", "") in text.replace("\\", "")
    assert "\x1b" not in page + text + "".join(capsys.readouterr())
    assert "<i>" not in page
    assert json.loads((tmp_path / "report" / "report.json").read_text())["n"] == 120
