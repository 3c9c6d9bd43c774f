"""Interactions of two settings with a tag: false findings where none is true, and how often a true one is found.

One setting is better everywhere by the same amount; where an interaction is true, by more in the first part. Each seed
of a setting has another true score in every part, by the noise of training.
"""

from dataclasses import replace

import numpy as np

from evqa.reporting.comparing import compare
from evqa.reporting.interactions import interactions
from evqa.reporting.runs import Item
from tests.simulations.comparisons import SHARED, TRUTH, correlation_of, setting_of, study_of

GAIN = 0.05  # of the first setting, in all parts


def draw_tagged_study(rng, *, num_parts, num_seeds, noise, n, extra=0.0, copies=1):
    """Two settings on n items in parts of equal size, each item `copies` times and these copies a group."""
    labels_N, common_N = rng.normal(size=(2, n))
    part_N, settings = np.arange(n) % num_parts, []
    for name, gain_P in (("s0", GAIN + extra * (np.arange(num_parts) == 0)), ("s1", np.zeros(num_parts))):
        own_N = np.sqrt(SHARED) * common_N + np.sqrt(1 - SHARED) * rng.normal(size=n)
        r = correlation_of(TRUTH + gain_P + noise * rng.normal(size=(num_seeds, num_parts)))[:, part_N]
        scores_SN = np.repeat(r * labels_N + np.sqrt(1 - r**2) * own_N, copies, axis=1)
        settings.append(setting_of(name, scores_SN, np.repeat(labels_N, copies), 200))
    tags = [{"category": f"c{part}"} for part in part_N]
    items = [Item(tags=tags[place], group=f"g{place}" if copies > 1 else None) for place in range(n)]
    study = study_of(settings, np.repeat(labels_N, copies))
    return compare(replace(study, items=tuple(item for item in items for _ in range(copies))))


def find(times, *, seed=0, **case):
    """Share of studies with any interaction, and with the first part's."""
    rng, findings, found = np.random.default_rng(seed), 0, 0
    for _ in range(times):
        tested = interactions(draw_tagged_study(rng, **case), num_resamples=500).found
        findings += any(one.difference.p < 0.05 for one in tested)
        found += any(one.difference.p < 0.05 and one.value == "c0" for one in tested)
    return findings / times, found / times


CASES = {
    "2 parts of 60 items, single runs": {"num_parts": 2, "num_seeds": 1, "noise": 0.0, "n": 120},
    "4 parts of 60 items, single runs": {"num_parts": 4, "num_seeds": 1, "noise": 0.0, "n": 240},
    "12 parts of 30 items, single runs": {"num_parts": 12, "num_seeds": 1, "noise": 0.0, "n": 360},
    "4 parts of 60 items, 3 seeds, SD 0.03": {"num_parts": 4, "num_seeds": 3, "noise": 0.03, "n": 240},
    "4 parts of 60 groups of 4": {"num_parts": 4, "num_seeds": 1, "noise": 0.0, "n": 240, "copies": 4},
}


def tables(times):
    yield f"| {times} studies a case, 0.05 better in all parts | a false interaction | +0.1 in one part is found |"
    yield "| :--- | ---: | ---: |"
    for name, case in CASES.items():
        yield f"| {name} | {find(times, **case)[0]:.1%} | {find(times, seed=1, extra=0.1, **case)[1]:.0%} |"
    yield ""
