"""Ensembles: the gain over the best member that is shown, the true one, and how often its interval holds it.

The true gain is that of the weights of all items over the member that is best on all items, on new ones.
"""

import math

import numpy as np

from evqa.ensembling import fit
from evqa.ensembling.combination import METHODS
from evqa.ensembling.fitting import best_member
from evqa.ensembling.gain import SAME, Division, best_out_of_fold
from evqa.ensembling.judgement import alike, honest_scores, made_anew
from evqa.metrics import challenge

CASES = ("1 good, 4 noise", "8 near-identical", "6 equal, 80 % shared", "3 diverse", "2 copies")
LARGE = 30_000


def drawn(generator, case, n):
    """Scores [N, M] of the members and labels [N]."""
    labels = generator.normal(size=n)
    shared, own = generator.normal(size=n), generator.normal(size=(n, 8))
    if case == "1 good, 4 noise":
        return np.column_stack([labels + shared, own[:, :4]]), labels
    if case == "8 near-identical":
        return (labels + shared)[:, None] + 0.1 * own, labels
    if case == "6 equal, 80 % shared":
        return (labels + math.sqrt(0.8) * shared)[:, None] + math.sqrt(0.2) * own[:, :6], labels
    if case == "3 diverse":
        return labels[:, None] + own[:, :3] * [0.8, 1.0, 1.2], labels
    return np.repeat((labels + shared)[:, None], 2, axis=1), labels


def combined(method, scores, labels, *, groups=None):
    """The honest scores, and the combination for new items."""
    names = [str(place) for place in range(scores.shape[1])]
    honest = honest_scores(method, scores, labels, Division(groups=groups))
    if method in ("mean", "rank_mean"):
        return honest, alike(method, scores, names=names)
    return honest, fit(method, scores, labels, names=names, groups=groups)


def simulate(case, n, *, times, methods=METHODS, seed=0):
    """For each method rows [times, 5] of: the gain shown, the true one of this combination, ends of the interval, p."""
    generator = np.random.default_rng(seed)
    large, truth = drawn(np.random.default_rng(99), case, LARGE)
    alone = [challenge(member, truth).value for member in large.T]
    rows = {method: [] for method in methods}
    for _ in range(times):
        scores, labels = drawn(generator, case, n)
        best = best_out_of_fold(scores, labels, Division())
        chosen = alone[best_member(scores, labels)]
        for method in methods:
            honest, combination = combined(method, scores, labels)
            gain = best.gain(honest, again=made_anew(method, scores, labels, Division()))
            true = challenge(combination.apply(large), truth).value - chosen
            ends = (0.0, 0.0, 1.0) if gain.reason == SAME else (gain.low, gain.high, gain.p)
            rows[method].append((gain.value, true, *ends))
    return {method: np.array(found) for method, found in rows.items()}


def coverage(rows):
    """Shares of intervals that hold the expected true gain, and that of their own combination."""
    _, true, low, high, _ = rows.T
    expected = true.mean()
    slack = 1e-9  # copies: an interval of no width
    held = ((low - slack <= value) & (value <= high + slack) for value in (expected, true))
    return [float(one.mean()) for one in held]


def tables(times):
    """Yield Markdown."""
    yield f"{times} draws each.\n"
    columns = ("members", "n", "method", "gain shown", "true gain", "holds the expected one", "holds its own")
    yield f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    for n in (60, 300):
        for case in CASES:
            for method, rows in simulate(case, n, times=times).items():
                held = " | ".join(f"{100 * share:.1f} %" for share in coverage(rows))
                shown, true = rows.mean(axis=0)[:2]
                yield f"| {case} | {n} | `{method}` | {shown:+.4f} | {true:+.4f} | {held} |"
    yield ""
    yield from grouped(times)


def grouped(times):
    """`stack` of 16 members, each of 60 items four times with small changes: what is shown, with and without groups."""
    generator, found = np.random.default_rng(0), []
    for _ in range(times):
        scores, labels, groups = copies(generator)
        large, truth, _ = copies(np.random.default_rng(99), n=5000)
        known, combination = combined("stack", scores, labels, groups=groups)
        without, _ = combined("stack", scores, labels)
        pairs = ((known, labels), (without, labels), (combination.apply(large), truth))
        found.append([challenge(one, other).value for one, other in pairs])
    known, without, true = np.mean(found, axis=0)
    yield "| `stack`, 16 members, 60 items four times each | challenge |\n|---|---|"
    yield f"| true | {true:.3f} |\n| shown, groups known | {known:.3f} |\n| shown, groups unknown | {without:.3f} |\n"


def copies(generator, *, n=60, num_copies=4, num_members=16):
    """Sixteen weak members; copies of an item have its label and nearly its scores."""
    labels = np.repeat(generator.normal(size=n), num_copies)
    scores = np.repeat(generator.normal(size=(n, num_members)), num_copies, axis=0) + 0.15 * labels[:, None]
    scores += 0.1 * generator.normal(size=scores.shape)
    return scores, labels, [str(place // num_copies) for place in range(n * num_copies)]
