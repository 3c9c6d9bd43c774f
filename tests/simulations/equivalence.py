"""Tests of equivalence: how often settings that differ by exactly the margin are called equivalent, and equal ones."""

import numpy as np

from evqa.reporting.comparing import compare
from evqa.reporting.equivalence import equivalences
from tests.simulations.comparisons import TRUTH, draw_study


def called_equivalent(times, *, gap, margin, seed=0, num_settings=2, num_resamples=500, **case):
    """Share of studies that call the first setting, better by `gap`, equivalent to the last one."""
    rng, found = np.random.default_rng(seed), 0
    truths = [TRUTH + gap / 2] + [TRUTH - gap / 2] * (num_settings - 1)
    for _ in range(times):
        plain = draw_study(rng, truths, num_resamples=num_resamples, **case)
        study = compare(plain, baseline={"setting": f"s{num_settings - 1}"})
        tests = equivalences(study, margin=margin).tests
        found += any(one.is_shown for one in tests if one.comparison.first == "setting=s0")
    return found / times


CASES = {  # margins that such studies can show: about four standard errors of the difference
    "2 single runs, items only, n = 60": {"margin": 0.2, "num_seeds": 1, "noise": 0.0, "n": 60},
    "2 single runs, items only, n = 300": {"margin": 0.1, "num_seeds": 1, "noise": 0.0, "n": 300},
    "2 settings x 3 seeds, SD 0.03, n = 60": {"margin": 0.25, "num_seeds": 3, "noise": 0.03, "n": 60},
    "2 settings x 3 seeds, SD 0.03, n = 300": {"margin": 0.15, "num_seeds": 3, "noise": 0.03, "n": 300},
    "4 settings x 3 seeds, SD 0.03, n = 300": {
        "margin": 0.15,
        "num_seeds": 3,
        "noise": 0.03,
        "n": 300,
        "num_settings": 4,
    },
}


def tables(times):
    yield f"| {times} studies a case | margin | differ by the margin, called equivalent | equal, called equivalent |"
    yield "| :--- | ---: | ---: | ---: |"
    for name, case in CASES.items():
        at_margin = called_equivalent(times, gap=case["margin"], **case)
        equal = called_equivalent(max(1, times // 5), gap=0.0, seed=1, **case)
        yield f"| {name} | {case['margin']:g} | {at_margin:.1%} | {equal:.0%} |"
    yield ""
