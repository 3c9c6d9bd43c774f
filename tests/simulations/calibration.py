"""How often prediction intervals hold the label of a new item, and how often those of the slope hold the true one.

The shares of 300 calibrations are exact to 0.3 points (new items) and 1.3 (slopes).

# N items
"""

import numpy as np

from evqa.metrics import challenge
from evqa.metrics.conformal import coverage_range, recalibrate

NUM_NEW, LEVEL, SPAN = 2000, 0.9, (0.0, 1.0)
KINDS = ("even", "uneven", "groups of 4", "groups of 1 to 9")


def drawn(generator, kind, num_units):
    """Scores and labels [N] in 0-1 and the group of each item, or None. Scores are too near to their middle.

    uneven: the errors of high scores are ten times those of low ones. Items of a group share most of label and error.
    """
    if kind == "uneven":
        scores = generator.uniform(size=num_units)
        labels = 0.1 + 0.8 * scores + (0.02 + 0.18 * scores) * generator.normal(size=num_units)
        return 0.3 + 0.4 * scores, np.clip(labels, 0, 1), None
    sizes = {"groups of 4": (4, 5), "groups of 1 to 9": (1, 10)}.get(kind, (1, 2))
    unit = np.repeat(np.arange(num_units), generator.integers(*sizes, size=num_units))
    shared = generator.uniform(0.1, 0.9, size=num_units), generator.normal(size=num_units)
    labels = np.clip(shared[0][unit] + 0.03 * generator.normal(size=len(unit)), 0, 1)
    scores = 0.3 + 0.4 * labels + 0.06 * shared[1][unit] + 0.02 * generator.normal(size=len(unit))
    return scores, labels, None if kind == "even" else [f"group {one}" for one in unit]


def one_of_each(groups, n):
    """Places of the first item of each group."""
    return np.arange(n) if groups is None else np.unique(groups, return_index=True)[1]


def held(kind, num_units, *, method, repeats, seed=0):
    """Mean share of new labels held, share measured out of fold, shares within the range told, slopes held."""
    generator = np.random.default_rng(seed)
    far_scores, far_labels, _ = drawn(generator, kind, 100_000)
    true_slope = np.polyfit(far_scores, far_labels, 1)[0]
    rows = []
    least, most = coverage_range(num_units, level=LEVEL)
    for _ in range(repeats):
        scores, labels, groups = drawn(generator, kind, num_units)
        found = recalibrate(scores, labels, groups=groups, method=method, span=SPAN, level=LEVEL)
        scores, labels, groups = drawn(generator, kind, NUM_NEW)
        new = one_of_each(groups, len(labels))
        low, high = found.recalibration.interval(scores[new])
        inside = float(np.mean((low <= labels[new]) & (labels[new] <= high)))
        slope = found.line.slope
        rows.append((inside, found.coverage, least <= inside <= most, slope.low <= true_slope <= slope.high))
    return np.mean(rows, axis=0)


def chosen(n, *, repeats, shared=0.0, num_checkpoints=10, seed=0):
    """Share of new labels held where the best of equally good checkpoints was chosen on the calibrated items.

    shared: the part of the errors' variance that all checkpoints have in common.
    """
    generator, inside = np.random.default_rng(seed), []
    for _ in range(repeats):
        labels = generator.uniform(size=n)
        common, own = generator.normal(size=n), generator.normal(size=(num_checkpoints, n))
        scores_KN = 0.3 + 0.4 * labels + 0.08 * (shared**0.5 * common + (1 - shared) ** 0.5 * own)
        best_N = max(scores_KN, key=lambda scores_N: challenge(scores_N, labels).value)
        found = recalibrate(best_N, labels, span=SPAN, level=LEVEL).recalibration
        new = generator.uniform(size=NUM_NEW)
        low, high = found.interval(0.3 + 0.4 * new + 0.08 * generator.normal(size=NUM_NEW))
        inside.append(np.mean((low <= new) & (new <= high)))
    return float(np.mean(inside))


def tables(times):
    repeats = max(20, 3 * times // 10)
    columns = (
        "new labels inside (stated: 90 %)",
        "measured out of fold",
        "inside the printed range",
        "slope held (95 %)",
    )
    yield f"| {repeats} calibrations a case | {' | '.join(columns)} |\n| :--- {'| ---: ' * len(columns)}|"
    for kind in KINDS:
        for num_units in (30, 60, 300):
            for method in ("linear", "isotonic"):
                shares = [f"{100 * one:.1f}%" for one in held(kind, num_units, method=method, repeats=repeats)]
                yield f"| {kind}, {num_units}, {method} | {' | '.join(shares)} |"
    columns = (
        "new labels inside, best of 10 chosen on these items",
        "errors independent",
        "80 % of the variance shared",
    )
    yield f"\n| {' | '.join(columns)} |\n| :--- | ---: | ---: |"
    for n in (30, 60, 300):
        alone, alike = (chosen(n, repeats=repeats, shared=shared) for shared in (0.0, 0.8))
        yield f"| {n} items, linear | {100 * alone:.1f}% | {100 * alike:.1f}% |"
