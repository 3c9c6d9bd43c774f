"""Plans: how often a study with the planned seeds or items finds the difference that it was planned for."""

import math

import numpy as np

from evqa.reporting.comparing import compare
from evqa.reporting.planning import StudyNoise, plan
from tests.simulations.comparisons import TRUTH, draw_study


def finds(rng, *, difference, num_seeds, n, noise, num_settings=2):
    """Whether one study finds that the first setting is better by the difference than the last one."""
    truths = [TRUTH + difference / 2] + [TRUTH - difference / 2] * (num_settings - 1)
    plain = draw_study(rng, truths, num_seeds=num_seeds, noise=noise, n=n, num_resamples=500)
    study = compare(plain, baseline={"setting": f"s{num_settings - 1}"})
    return next(one.difference.p for one in study.comparisons if one.first == "setting=s0") < 0.05


def pilot(rng, *, num_seeds, n, noise, num_settings=2):
    """A first study, in which all settings are equal."""
    plain = draw_study(rng, [TRUTH] * num_settings, num_seeds=num_seeds, noise=noise, n=n, num_resamples=500)
    return compare(plain, baseline={"setting": f"s{num_settings - 1}"})


def planned_with_known_noise(times, *, difference, num_seeds, n, noise, by, num_settings=2, num_pilots=20):
    """Seeds and items of a plan with the true SD of seeds and the mean error of some pilots, and the share found."""
    rng = np.random.default_rng(0)
    errors = [
        plan(pilot(rng, num_seeds=max(num_seeds, 2), n=n, noise=noise, num_settings=num_settings), difference=0.5).noise
        for _ in range(num_pilots)
    ]
    known = StudyNoise(
        num_units=n,
        items_error=math.sqrt(np.mean([one.items_error**2 for one in errors])),
        seed_sd=noise,
        sd_low=noise,
        sd_high=noise,
        freedom=num_settings if noise else 0,
        num_seeds=num_seeds,
        num_settings=num_settings,
        family=num_settings - 1,
    )
    seeds, items = (known.fewest_seeds(difference), n) if by == "seeds" else (num_seeds, known.fewest_items(difference))
    case = {"difference": difference, "num_seeds": seeds, "n": items, "noise": noise, "num_settings": num_settings}
    return seeds, items, float(np.mean([finds(rng, **case) for _ in range(times)]))


def planned_by_pilots(times, *, difference, num_seeds, n, noise, by, num_settings=2):
    """Median seeds and items of plans that were each made from a pilot of their own, and the share found."""
    rng, planned, found = np.random.default_rng(1), [], 0
    for _ in range(times):
        made = plan(pilot(rng, num_seeds=num_seeds, n=n, noise=noise, num_settings=num_settings), difference=difference)
        needed = made.seeds if by == "seeds" else made.items
        if needed is None or needed > 40 * (1 if by == "seeds" else n):  # too large to be drawn: it would be found
            found += 1
            planned.append((math.inf, n) if by == "seeds" else (num_seeds, math.inf))
            continue
        seeds, items = (needed, n) if by == "seeds" else (num_seeds, needed)
        planned.append((seeds, items))
        found += finds(rng, difference=difference, num_seeds=seeds, n=items, noise=noise, num_settings=num_settings)
    seeds, items = np.median(planned, axis=0)
    return float(seeds), float(items), found / times


CASES = {
    "seeds, 2 settings x 3 seeds, SD 0.03, n = 300": {
        "by": "seeds",
        "difference": 0.08,
        "num_seeds": 3,
        "n": 300,
        "noise": 0.03,
    },
    "items, 2 settings x 3 seeds, SD 0.01, n = 300": {
        "by": "items",
        "difference": 0.05,
        "num_seeds": 3,
        "n": 300,
        "noise": 0.01,
    },
    "items, 2 single runs, n = 300": {"by": "items", "difference": 0.05, "num_seeds": 1, "n": 300, "noise": 0.0},
    "seeds, 4 settings x 3 seeds, SD 0.03, n = 300": {
        "by": "seeds",
        "difference": 0.09,
        "num_seeds": 3,
        "n": 300,
        "noise": 0.03,
        "num_settings": 4,
    },
}


def tables(times):
    yield f"| {times} studies a case | difference | with known noise | finds it | by pilots, median | finds it |"
    yield "| :--- | ---: | :--- | ---: | :--- | ---: |"
    for name, case in CASES.items():
        cells = []
        for planned in (planned_with_known_noise, planned_by_pilots):
            seeds, items, found = planned(times, **case)
            cells += [f"{seeds:g} seeds, {items:g} items", f"{found:.0%}"]
        yield f"| {name} | {case['difference']:g} | {' | '.join(cells)} |"
    yield ""
