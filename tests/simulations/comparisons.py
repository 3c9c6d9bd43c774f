"""Comparisons of settings: false positives, power at the difference that is printed, the interval of the best setting.

Labels and scores are normal. A setting has a true challenge score; every seed of it has another one, by the noise of
training. Settings share seven tenths of the variance of their errors.
"""

import math

import numpy as np

from evqa.metrics import METRICS, bootstrap, interval
from evqa.reporting.comparing import compare
from evqa.reporting.runs import Run
from evqa.reporting.study import Pooled, Setting, Study
from evqa.reporting.winner import winner_interval

GRID = np.linspace(0, 0.9999, 5000)
CHALLENGE = 0.6 * 6 / np.pi * np.arcsin(GRID / 2) + 0.4 * GRID  # of normal scores with that Pearson correlation
SHARED = 0.7
TRUTH = 0.7


def correlation_of(challenge):
    return np.interp(challenge, CHALLENGE, GRID)


def draw_study(rng, truths, *, num_seeds, noise, n, num_resamples=2000):
    """A study of settings with these true scores, as `evqa.reporting.study.pool` would make it of their runs."""
    labels_N, common_N = rng.normal(size=(2, n))
    settings = []
    for place, truth in enumerate(truths):
        own_N = math.sqrt(SHARED) * common_N + math.sqrt(1 - SHARED) * rng.normal(size=n)
        r = correlation_of(truth + noise * rng.normal(size=num_seeds))[:, None]
        scores_SN = r * labels_N + np.sqrt(1 - r**2) * own_N
        settings.append(setting_of(f"s{place}", scores_SN, labels_N, num_resamples))
    return study_of(settings, labels_N)


def setting_of(name, scores_SN, labels_N, num_resamples):
    runs = [
        Run(path=None, name=name, config={"seed": s}, overrides=(), history=(), items={}, record={})
        for s in range(len(scores_SN))
    ]
    draws = [
        bootstrap(one, labels_N, metrics=("challenge",), num_resamples=num_resamples)["challenge"] for one in scores_SN
    ]
    values = [METRICS["challenge"](one, labels_N).value for one in scores_SN]
    ends, spread = interval(np.mean(draws, axis=0)), np.std(values, ddof=1) if len(values) > 1 else math.nan
    pooled = Pooled(mean=np.mean(values), spread=spread, low=ends.low, high=ends.high, of_seeds=tuple(values))
    names = dict.fromkeys(METRICS)
    return Setting(
        name=name,
        values={"setting": name},
        runs=tuple(runs),
        metrics=dict.fromkeys(names, pooled),
        scores_SN=scores_SN,
        draws=dict.fromkeys(names, tuple(draws)),
    )


def study_of(settings, labels_N):
    ids = tuple(map(str, range(len(labels_N))))
    ranked = sorted(settings, key=lambda one: -one.metrics["challenge"].mean)
    fields = {"split": "val", "metric": "challenge", "label": "ECR", "ids": ids, "items": ()}
    return Study(**fields, labels_N=labels_N, axes=("setting",), settings=tuple(ranked))


def decide(times, *, gap=0.0, seed=0, num_settings, num_seeds, noise, n):
    """Share of studies with any finding, with the first setting found, and the mean difference that is printed."""
    rng, findings, found, printed = np.random.default_rng(seed), 0, 0, []
    truths = [TRUTH + gap / 2] + [TRUTH - gap / 2] * (num_settings - 1)
    for _ in range(times):
        plain = draw_study(rng, truths, num_seeds=num_seeds, noise=noise, n=n)
        study = compare(plain, baseline={"setting": f"s{num_settings - 1}"})
        findings += any(one.difference.p < 0.05 for one in study.comparisons)
        (of_first,) = (one for one in study.comparisons if one.first == "setting=s0")
        found += of_first.difference.p < 0.05
        printed.append(of_first.difference.detectable)
    return {"any": findings / times, "found": found / times, "printed": float(np.mean(printed))}


def power(times, **case):
    """Any false finding where all are equal, the difference that is printed there, and how often it is found."""
    null = decide(times, **case)
    true = decide(times, gap=null["printed"], seed=1, **case)
    return null["any"], null["printed"], true["found"]


def coverage_of_best(times, *, num_settings, n):
    """How often the best setting's true score lies in the interval for the best, and in that of a single setting."""
    rng, of_best, plain = np.random.default_rng(0), 0, 0
    for _ in range(times):
        study = draw_study(rng, [TRUTH] * num_settings, num_seeds=1, noise=0.0, n=n, num_resamples=1000)
        ends, alone = winner_interval(study), study.best.metrics["challenge"]
        of_best += ends.low <= TRUTH <= ends.high
        plain += alone.low <= TRUTH <= alone.high
    return of_best / times, plain / times


CASES = {
    "2 single runs, items only, n = 60": {"num_settings": 2, "num_seeds": 1, "noise": 0.0, "n": 60},
    "2 single runs, items only, n = 300": {"num_settings": 2, "num_seeds": 1, "noise": 0.0, "n": 300},
    "2 settings x 2 seeds, SD 0.03": {"num_settings": 2, "num_seeds": 2, "noise": 0.03, "n": 300},
    "3 settings x 3 seeds, SD 0.03": {"num_settings": 3, "num_seeds": 3, "noise": 0.03, "n": 300},
    "family of 3: 4 settings x 3 seeds": {"num_settings": 4, "num_seeds": 3, "noise": 0.03, "n": 300},
    "family of 3: 4 single runs, items only": {"num_settings": 4, "num_seeds": 1, "noise": 0.0, "n": 300},
    "family of 10: 11 settings x 2 seeds": {"num_settings": 11, "num_seeds": 2, "noise": 0.03, "n": 300},
    "family of 10: 11 single runs, items only": {"num_settings": 11, "num_seeds": 1, "noise": 0.0, "n": 300},
    "family of 60: 61 single runs, items only": {"num_settings": 61, "num_seeds": 1, "noise": 0.0, "n": 300},
}


def tables(times):
    yield f"| {times} studies a case | a false finding | printed as detectable | found if true |"
    yield "| :--- | ---: | ---: | ---: |"
    for name, case in CASES.items():
        draws = times if case["num_settings"] < 10 else max(1, times // 3)
        false, printed, found = power(draws, **case)
        yield f"| {name} | {false:.1%} | {printed:.3f} | {found:.0%} |"
    equal = decide(times, num_settings=2, num_seeds=1, noise=0.03, n=300)["found"]
    yield ""
    yield f"Two equal settings, a single seed each, SD of training 0.03, n = 300: 'better on these items' {equal:.0%}."
    yield ""
    yield f"| {max(1, times // 2)} searches a case | interval of the best covers | a single setting's covers |"
    yield "| :--- | ---: | ---: |"
    for num_settings, n in ((5, 60), (5, 300), (53, 60), (53, 300)):
        of_best, plain = coverage_of_best(max(1, times // 2), num_settings=num_settings, n=n)
        yield f"| best of {num_settings} equal settings, n = {n} | {of_best:.1%} | {plain:.1%} |"
    yield ""
