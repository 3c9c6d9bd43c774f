"""Pictures of the score over numeric settings."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from evqa.reporting.canvas import COLUMN, SCREEN
from evqa.reporting.document import Heading
from evqa.reporting.numeric_axes import NUM_NAMED, caption_of, numeric_axes, plot_over, shown_lines
from evqa.reporting.pages import compose
from evqa.reporting.plots import draw_all
from evqa.reporting.runs import read_run
from evqa.reporting.study import pool

RATE = "optimizer.learning_rate"


@pytest.fixture(scope="module")
def measured(tmp_path_factory, make_run):
    """One setting of two seeds, to make others of."""
    root = tmp_path_factory.mktemp("runs")
    return pool(
        [read_run(make_run(root, seed=seed, n=40), split="val") for seed in range(2)], split="val", num_resamples=50
    )


def study_of(measured, *values, baseline=None):
    """A study of settings with these values, each a thousandth lower than the one before."""
    settings = []
    for place, each in enumerate(values):
        pooled = measured.best.metrics["challenge"]
        pooled = replace(pooled, mean=pooled.mean - place / 1000)
        name = ", ".join(f"{key}={value}" for key, value in each.items())
        settings.append(
            replace(measured.best, name=name, values=each, metrics=measured.best.metrics | {"challenge": pooled})
        )
    return replace(measured, axes=tuple(values[0]), settings=tuple(settings), baseline=baseline)


def over(axis, *values):
    return [{axis: value} for value in values]


@pytest.mark.parametrize(
    ("axis", "values", "numbers", "is_logarithmic"),
    [
        (RATE, ["0.001", "1e-05", "0.0001"], [1e-5, 1e-4, 1e-3], True),
        ("frames.count", ["4", "8", "16"], [4, 8, 16], True),  # powers of two
        ("frames.count", ["0", "5", "10", "all"], [0, 5, 10], False),
        ("lora", ["none", "r8", "r64", "qlora", "r16"], [8, 16, 64], True),
        ("frames", ["first4", "uniform16", "first5", "first8"], [4, 5, 8], False),
        ("frames.count", ["4", "8", "all"], None, None),
        ("frames.count", ["4", "8", "nan", "inf"], None, None),
        ("model", ["qwen2", "qwen3", "qwen4"], None, None),  # a version is no quantity
        ("data.split_seed", ["0", "1", "2"], None, None),
        ("data.fold", ["0", "1", "2"], None, None),
    ],
)
def test_an_axis_is_numeric_by_three_numbers(measured, axis, values, numbers, is_logarithmic):
    found = numeric_axes(study_of(measured, *over(axis, *values)))
    if numbers is None:
        assert found == []
        return
    assert [found[0].of(one) for one in found[0].lines[0].settings] == numbers
    assert found[0].is_logarithmic is is_logarithmic


def test_settings_that_differ_elsewhere_too_are_no_line(measured):
    assert numeric_axes(study_of(measured, *({RATE: f"{n}", "lora.alpha": f"{n}"} for n in (1, 2, 3)))) == []


def test_a_picture_has_means_intervals_and_seeds_at_the_values(measured):
    study = study_of(measured, *over(RATE, "0.1", "0.001", "0.01"))
    (axis,) = numeric_axes(study)
    for sheet in (SCREEN, COLUMN):
        (panel,) = plot_over(study, axis, sheet).axes
        means, *rest = [line.get_xydata() for line in panel.get_lines()]
        assert means[:, 0].tolist() == [0.001, 0.01, 0.1]
        expected = [
            next(one for one in study.settings if axis.of(one) == value).metrics["challenge"] for value in means[:, 0]
        ]
        assert means[:, 1].tolist() == [one.mean for one in expected]
        intervals, seeds = rest[::2], rest[1::2]
        assert [one[:, 1].tolist() for one in intervals] == [[one.low, one.high] for one in expected]
        assert [one[:, 1].tolist() for one in seeds] == [list(one.of_seeds) for one in expected]
        assert panel.get_xscale() == "log"
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0.001", "0.01", "0.1"]


def test_names_of_values_that_would_run_into_each_other_are_left_out(measured):
    study = study_of(measured, *over("frames.count", *(str(n) for n in range(1000, 1100))))
    (panel,) = plot_over(study, numeric_axes(study)[0], COLUMN).axes
    names = [label.get_text() for label in panel.get_xticklabels()]
    assert len(names) == 100
    assert names[0] == "1000"
    assert 5 < sum(map(bool, names)) < 12


def test_lines_and_values_that_are_not_shown_are_named(measured):
    values = [{RATE: rate, "note": f"n{n}"} for n, rate in product(range(20), ("1", "2", "3"))]
    study = study_of(measured, *values, {RATE: "-", "note": "n0"}, baseline={"note": "n19"})
    (axis,) = numeric_axes(study)
    assert [one.name for one in shown_lines(study, axis)] == [*(f"note=n{n}" for n in range(5)), "note=n19"]
    named = ", ".join(f"(note=n{n})" for n in range(5, 5 + NUM_NAMED))
    assert caption_of(study, axis).endswith(
        " Shown are 6 of 20 lines, those with the highest scores and the baseline's; not shown: "
        f"{named} and 2 more. Not on the axis: {RATE}=-."
    )
    unknown = replace(
        study.settings[-1], metrics={"challenge": replace(study.best.metrics["challenge"], mean=math.nan)}
    )
    lacking = replace(study, settings=(*study.settings[:-1], unknown))
    assert caption_of(lacking, *numeric_axes(lacking)).endswith(f" Without a value: ({RATE}=-, note=n0).")
    few = study_of(measured, *values[:6])
    assert "shown" not in caption_of(few, *numeric_axes(few))


def test_a_report_has_such_a_picture_for_every_numeric_axis(measured, tmp_path):
    values = [{"a.b": str(one), "a_b": str(two)} for one, two in product((1, 2, 3), (4, 5, 6))]
    study = study_of(measured, *values)
    drawn = draw_all(study, tmp_path, only=("over_",), formats=("pdf",))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"over_a_b{n}.{end}" for n in ("", "_") for end in ("png", "pdf")
    }
    assert [one.description for one in drawn.values()] == ["Score over a.b", "Score over a_b"]
    headings = [block.text for block in compose(study, drawn) if isinstance(block, Heading)]
    assert headings[:3] == ["Settings", "Score over a.b", "Score over a_b"]
    unscored = replace(
        study,
        settings=tuple(
            replace(one, metrics={"challenge": replace(one.metrics["challenge"], mean=np.nan)})
            for one in study.settings
        ),
    )
    assert numeric_axes(unscored) == []
