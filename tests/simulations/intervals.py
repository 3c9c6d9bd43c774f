"""How often intervals hold the true value. The shares of 1000 repeats are exact to 0.7 points.

# N items
"""

import math

import numpy as np

from evqa.metrics import METRICS, bootstrap, estimate_interval, interval, paired_difference

NUM_RESAMPLES = 500
KINDS = ("normal", "uniform", "heavy", "coarse")
LARGE = 400_000  # items whose metric is taken for the true one


def drawn(generator, kind, n, *, truth):
    """Scores [N] and labels [N] of a known correlation; labels as a MOS (normal), an ECR (uniform), with outliers
    (Student's t with 5 degrees of freedom), or on a scale of a few whole numbers."""
    if kind == "uniform":
        labels = generator.uniform(-math.sqrt(3), math.sqrt(3), size=n)
        noise = generator.normal(size=n)
    elif kind == "heavy":
        labels, noise = generator.standard_t(5, size=(2, n)) / math.sqrt(5 / 3)
    else:
        labels, noise = generator.normal(size=(2, n))
    scores = truth * labels + math.sqrt(1 - truth**2) * noise
    return scores, np.round(labels) if kind == "coarse" else labels


def coverage(kind, n, *, truth, repeats, copies=1):
    """Share of held true values by metric, of percentile intervals and of ours; of copies also of items and groups."""
    generator = np.random.default_rng(0)
    large = drawn(generator, kind, LARGE, truth=truth)
    true = {name: METRICS[name](*large).value for name in METRICS}
    held = {(name, way): 0 for name in METRICS for way in ("percentile", "ours", "items")}
    groups = [str(place // copies) for place in range(n * copies)]
    for _ in range(repeats):
        scores, labels = (np.repeat(values, copies) for values in drawn(generator, kind, n, truth=truth))
        draws = bootstrap(scores, labels, num_resamples=NUM_RESAMPLES, groups=groups)
        alone = bootstrap(scores, labels, num_resamples=NUM_RESAMPLES) if copies > 1 else draws
        for name, value in true.items():
            found = METRICS[name](scores, labels).value
            ends = {
                "percentile": interval(draws[name]),
                "ours": estimate_interval(name, found, draws[name], num_units=n),
                "items": estimate_interval(name, found, alone[name], num_units=n * copies),
            }
            for way, one in ends.items():
                held[name, way] += one.low <= value <= one.high
    return {key: count / repeats for key, count in held.items()}


def paired(kind, n, *, truth, repeats, copies=1, metric="challenge"):
    """Share of paired differences of two equally good predictions whose interval holds zero."""
    generator, held = np.random.default_rng(0), 0
    groups = [str(place // copies) for place in range(n * copies)]
    for _ in range(repeats):
        one, labels = drawn(generator, kind, n, truth=truth)
        other = truth * labels + math.sqrt(1 - truth**2) * generator.normal(size=n)
        vectors = [np.repeat(values, copies) for values in (one, other, labels)]
        difference = paired_difference(*vectors, metric=metric, num_resamples=NUM_RESAMPLES, groups=groups)
        held += difference.low <= 0 <= difference.high
    return held / repeats


def tables(repeats):
    yield f"Share of {repeats} intervals that hold the true value, in percent (percentile bootstrap in brackets):"
    yield ""
    yield "| labels | n | true PLCC | " + " | ".join(METRICS) + " |"
    yield "|---" * (3 + len(METRICS)) + "|"
    for kind in KINDS:
        for n, truth in ((30, 0.5), (30, 0.8), (30, 0.95), (100, 0.8)):
            found = coverage(kind, n, truth=truth, repeats=repeats)
            cells = [f"{100 * found[name, 'ours']:.1f} ({100 * found[name, 'percentile']:.1f})" for name in METRICS]
            yield f"| {kind} | {n} | {truth} | {' | '.join(cells)} |"
    yield "\n| groups of four | over groups | over items | paired, over groups | krocc, over groups |"
    yield "|---|---|---|---|---|"
    for n in (30, 100):
        found = coverage("normal", n, truth=0.5, repeats=repeats, copies=4)
        ways = [f"{100 * found['challenge', way]:.1f}" for way in ("ours", "items")]
        alike = paired("normal", n, truth=0.5, repeats=repeats, copies=4)
        yield f"| {n} | {' | '.join(ways)} | {100 * alike:.1f} | {100 * found['krocc', 'ours']:.1f} |"
    yield "\n| paired, equally good | n = 30 | n = 100 | krocc, n = 30 | krocc, n = 100 |\n|---|---|---|---|---|"
    for kind in ("normal", "uniform"):
        cases = [{"metric": metric, "n": n} for metric in ("challenge", "krocc") for n in (30, 100)]
        shares = [f"{100 * paired(kind, truth=0.8, repeats=repeats, **case):.1f}" for case in cases]
        yield f"| {kind} | {' | '.join(shares)} |"
    yield ""
