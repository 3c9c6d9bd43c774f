"""The baseline of titles and descriptions alone."""

from dataclasses import replace

import numpy as np
import pytest

from evqa.metrics import srocc
from evqa.reporting.baselines import baselines, baselines_table
from evqa.reporting.comparing import compare
from evqa.reporting.runs import read_run
from evqa.reporting.study import pool
from evqa.reporting.text_ridge import MIN_TEXTS, TextScores, predict_from_texts, text_scores
from tests.asking import a_record

WORDS = ("kitten", "chaton", "小猫", "كلب", "tax return", "météo")


def drawn(count, seed):
    """Texts of three words each, and labels that are the mean of the words' values."""
    generator = np.random.default_rng(seed)
    picked = generator.integers(0, len(WORDS), (count, 3))
    return [" ".join(WORDS[place] for place in row) for row in picked], picked.mean(axis=1) / len(WORDS)


def test_texts_that_tell_the_label_are_found_in_any_script_and_others_tell_nothing():
    (texts, labels_N), (wanted, expected_N) = drawn(300, 0), drawn(200, 1)
    scores_N = predict_from_texts(texts, labels_N, wanted=[*wanted, "", "�"])
    assert srocc(scores_N[:200], expected_N).value > 0.95
    assert scores_N[200] == pytest.approx(labels_N.mean())  # nothing is known of an empty text
    noise = [np.random.default_rng(seed).bytes(12).hex() for seed in range(500)]
    assert abs(srocc(predict_from_texts(noise[:300], labels_N, wanted=noise[300:]), expected_N).value) < 0.25


def records(count, seed, *, label=True):
    texts, labels_N = drawn(count, seed)
    return [
        replace(
            a_record(name=f"{seed}-{place}", path="a.mp4", title=text[:8], description=text[8:]),
            label=float(labels_N[place]) if label else None,
        )
        for place, text in enumerate(texts)
    ]


def test_a_regression_needs_others_with_texts_and_items_with_texts():
    shown = {record.id: record for record in records(5, 1)}
    others = records(MIN_TEXTS, 0)
    found = text_scores([*shown, "gone"], shown, others)
    assert (len(found.scores_N), found.num_fitted) == (6, MIN_TEXTS)
    assert text_scores([*shown], shown, others[1:]) is None
    assert (
        text_scores([*shown], shown, [*others[1:], a_record(name="e", path="a.mp4", title="", description="")]) is None
    )
    assert text_scores(["gone"], shown, others) is None


def test_it_stands_among_the_baselines_with_what_it_was_fitted_on(tmp_path, make_run):
    study = compare(pool([read_run(make_run(tmp_path), split="val")], split="val"))
    texts = TextScores(scores_N=study.labels_N.copy(), num_fitted=77)
    found = baselines(study, texts)
    (one,) = (each for each in found if each.name == "text")
    assert (one.metrics["srocc"].value, one.metrics["rmse"].value, one.fitted) == (1.0, 0.0, 77)
    table = baselines_table(study, found)
    assert "fitted on 77 other items of" in table.caption
    assert "ridge" not in baselines_table(study, baselines(study)).caption
