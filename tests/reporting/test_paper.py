"""What a report writes for papers: pictures in a column's width, tables, and colours that stay."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from evqa.files.terminal import Terminal
from evqa.report import main
from evqa.reporting.canvas import COLUMN, PAGE
from evqa.reporting.colours import INK, OF_MODALITY, OTHERS, styles
from evqa.reporting.comparing import compare
from evqa.reporting.paper_table import latex, settings_tex
from evqa.reporting.plots import (
    draw_all,
    plot_curves,
    plot_differences,
    plot_residuals,
    plot_scatter,
    plot_settings,
    plot_slices,
    shown_settings,
)
from evqa.reporting.runs import find_runs, read_run
from evqa.reporting.show import show
from evqa.reporting.study import pool

AXES = ("model", "head", "loss", "lora", "optimizer.learning_rate", "data.batch_size", "frames.num_frames", "prompt")
AXES += ("audio.seconds", "schedule.warmup_steps", "callbacks.stopping.patience", "trainer.epochs", "data.columns")
TEN = "#$%&~_^\\{}"
POINTS_A_MM = 72 / 25.4


def study_of(root, *, baseline=None):
    runs = [read_run(path, split="val") for path in find_runs([root]).folders]
    return compare(pool(runs, split="val", num_resamples=50), baseline=baseline)


@pytest.fixture(scope="module")
def many(tmp_path_factory, make_run):
    """Twelve settings that differ in fourteen axes."""
    root = tmp_path_factory.mktemp("many")
    for place in range(12):
        modal, value = ("a", "v", "av")[place % 3], place // 3
        given = [f"modal={modal}", *(f"{axis}=a_value_{value}" for axis in AXES)]
        make_run(root, modal=modal, seed=place, overrides=given, name=f"r{place}", noise=0.02 + 0.01 * place)
    return study_of(root, baseline={"modal": "v"})


@pytest.fixture(scope="module")
def few(tmp_path_factory, make_run):
    root = tmp_path_factory.mktemp("few")
    for modal, seed in (("v", 0), ("av", 0), ("av", 1)):
        make_run(root, modal=modal, seed=seed)
    return root


@pytest.fixture(scope="module")
def report(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert main([str(few), "--out", str(folder), "--format", "svg, PDF,png"]) == 0
    return folder


def test_pictures_are_a_column_wide_and_the_page_has_those_of_the_screen(report, few, tmp_path):
    for name in ("settings", "differences", "scatter", "residuals", "learning_curves", "slices"):
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", (report / f"{name}.pdf").read_bytes())
        assert float(box[1]) / POINTS_A_MM == pytest.approx(88, abs=0.01)
        width = re.search(r'<svg [^>]*width="([\d.]+)pt"', (report / f"{name}.svg").read_text())
        assert float(width[1]) / POINTS_A_MM == pytest.approx(88, abs=0.01)
        with Image.open(report / f"{name}.png") as image:
            assert image.width == int(88 / 25.4 * 300)
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    drawn = draw_all(study_of(few), tmp_path, only=("settings", "learning_curves"))
    assert not list(tmp_path.glob("*.pdf"))
    curves = drawn["learning_curves"].svg
    assert curves in (report / "report.html").read_text()
    with Image.open(tmp_path / "settings.png") as image:
        assert image.width == 836


def texts_of(figure):
    """What is written in a figure, without the numbers at its axes."""
    for panel in filter(lambda panel: panel.get_visible(), figure.axes):
        low, high = sorted(panel.get_ylim())
        ticks = zip(
            panel.get_yticks(), panel.get_yticklabels(), strict=False
        )  # a panel's right neighbour has no labels
        yield from (*panel.texts, panel._left_title, panel.xaxis.label, panel.yaxis.label)
        yield from (label for place, label in ticks if low <= place <= high)
    yield from (*figure.texts, *(text for legend in figure.legends for text in legend.get_texts()))


def test_texts_on_a_narrow_sheet_are_large_enough_inside_and_apart(many):
    shown = shown_settings(many)
    with mpl.rc_context(COLUMN.style):
        for plot in (plot_settings, plot_differences, plot_curves, plot_scatter, plot_residuals, plot_slices):
            figure = plot(many, shown, COLUMN)
            figure.draw_without_rendering()
            texts = [text for text in texts_of(figure) if text.get_text().strip()]
            boxes = [text.get_window_extent() for text in texts]
            for text, box in zip(texts, boxes, strict=True):
                assert text.get_fontsize() >= 6.5
                assert box.x0 > -1, (plot, text)
                assert box.x1 < figure.bbox.width + 1, (plot, text)
            pairs = combinations(zip(texts, boxes, strict=True), 2)
            assert [(one, other) for (one, box), (other, near) in pairs if box.overlaps(near)] == [], plot
            if plot in (plot_settings, plot_differences):
                rows = [text.get_window_extent() for text in figure.axes[0].texts]
                assert len(rows) == (12 if plot is plot_settings else 8)
                assert all(above.y0 - below.y1 > 20 for above, below in pairwise(rows))  # pixels: room for the marks


def test_modalities_keep_their_colours_whatever_else_is_in_the_report(tmp_path, make_run, many):
    roots = [tmp_path / name for name in ("all", "two", "one")]
    for root, modals in zip(roots, (("a", "v", "av"), ("v", "a"), ("a",)), strict=True):
        for modal in modals:
            make_run(root, modal=modal, noise=0.02 * len(modals))
    for study in [*map(study_of, roots), many]:
        style = styles(study.settings, shown_settings(study))
        for one in study.settings:
            assert style[one.name].colour == OF_MODALITY[one.runs[0].config["modal"]["name"]]
    drawn = [(one.colour, one.line) for name, one in style.items() if name in {s.name for s in shown_settings(many)}]
    assert len({(colour, str(line)) for colour, line in drawn}) == len(drawn) == 6
    for rank in range(8):
        make_run(tmp_path / "ranks", noise=0.1 * rank, overrides=[f"lora=r{rank}"], name=f"r{rank}")
    ranks = study_of(tmp_path / "ranks")
    colours = [one.colour for one in styles(ranks.settings, shown_settings(ranks)).values()]
    assert sorted(colours) == sorted([*OTHERS, INK, INK])


# Machado, Oliveira and Fernandes (2009), severity 1.
SEEN = {
    "fully": np.eye(3),
    "without red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "without green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "without blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def lab(colour, seen):
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(seen) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
def test_colours_are_apart_for_the_colour_blind_and_from_the_ground(seen):
    colours = [*OF_MODALITY.values(), *OTHERS]
    assert len({*colours}) == 9
    apart = [np.linalg.norm(lab(a, SEEN[seen]) - lab(b, SEEN[seen])) for a, b in combinations(colours, 2)]
    assert min(apart) > 15  # about 2 can be told from one another side by side
    assert min(np.linalg.norm(lab(one, SEEN[seen]) - lab(PAGE, SEEN[seen])) for one in colours) > 25


def test_tables_have_the_numbers_of_the_report(report, few):
    known = json.loads((report / "report.json").read_text())
    rows = list(csv.DictReader(io.StringIO((report / "settings.csv").read_text())))
    assert [(row["modal"], row["seeds"], row["n"], row["reason"]) for row in rows] == [
        ("av", "2", "120", ""),
        ("v", "1", "120", ""),
    ]
    for row, one in zip(rows, known["settings"], strict=True):
        for name, pooled in one["metrics"].items():
            for part, key in (("", "mean"), ("_low", "low"), ("_high", "high"), ("_sd", "spread")):
                expected = "" if pooled[key] is None else f"{pooled[key]:.3f}"
                assert row[name + part] == expected
    text = (report / "settings.tex").read_text()
    (best, other) = re.findall(r"(?m)^    (?:av|v) & .*$", text)
    numbers = rows[0]
    assert best == (
        rf"    av & 2 & \textbf{{{numbers['challenge']}}} & {numbers['challenge_sd']} & "
        rf"[{numbers['challenge_low']}, {numbers['challenge_high']}] & "
        + " & ".join(rf"\textbf{{{numbers[name]}}}" for name in ("srocc", "plcc", "krocc", "rmse"))
        + r" \\"
    )
    assert "textbf" not in other
    assert " & 1 & " in other
    assert " & -- & [" in other  # one seed has no spread
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert "n = 120 items" in text


def test_all_ten_special_characters_are_escaped_in_settings_labels_and_notes(tmp_path, make_run):
    assert latex(TEN) == r"\#\$\%\&\textasciitilde{}\_\textasciicircum{}\textbackslash{}\{\}"
    for place in (0, 1):
        odd = f"[1,5]*--<|>{TEN}{place}"
        folder = make_run(tmp_path / "runs", overrides=[f"note={odd}"], noise=0.1 * place, name=f"r{place}{TEN[:7]}")
        for file in (folder / "predictions").glob("val*.csv"):
            file.write_text(file.read_text().replace("ECR", f'"{TEN}"', 1))
    study = study_of(tmp_path / "runs")
    long = {f"axis{number}": TEN for number in range(5)}
    for each in (study, with_axes(study, long)):
        text = settings_tex(each)
        (tmp_path / "settings.tex").write_text(text)
        without = re.sub(r"\\(textbackslash|text\w+|[#$%&_{}])", "", text.partition("\n")[2])
        cells = [line for line in without.splitlines() if "caption" in line or "footnotesize" in line]
        assert not re.search(r"[#$%&~_^]", "".join(cells).replace(r"\footnotesize\raggedright", ""))
        assert latex(TEN) in text
        compiled(tmp_path)


def with_axes(study, values):
    settings = tuple(replace(one, values=values, name=", ".join(values.values())) for one in study.settings)
    return replace(study, settings=settings, axes=tuple(values))


def compiled(folder):
    """Compile the table where a LaTeX with booktabs is at hand."""
    if shutil.which("pdflatex"):
        document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{settings}\end{document}"
        (folder / "all.tex").write_text(document)
        done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all"], cwd=folder, stdout=-1)
        assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_of_fourteen_axes_wraps_its_settings(many, width, tmp_path):
    text = io.StringIO()
    console: Console = Terminal(file=text, width=width, highlight=False)
    show(many, folder=tmp_path, console=console)
    head = text.getvalue().partition("\n- ")[0].splitlines()
    assert "…" not in text.getvalue()
    assert max(map(len, head)) <= width
    column = next(row for row in head if row.startswith("setting ")).index("seeds")
    left = "".join(row[:column].strip() for row in head)
    for setting in many.settings:
        assert setting.name.replace(" ", "") in left.replace(" ", "")
        assert f"{setting.metrics['challenge'].mean:.3f}" in "\n".join(head)
