"""How many seeds and items a study like this one needs to see a difference that the user names, from its own noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.metrics.paired import planned_detectable, unbiased_deviation
from evqa.reporting.comparing import compared_pairs, why_untested
from evqa.reporting.document import Block, Heading, TableBlock
from evqa.reporting.sentences import number
from evqa.reporting.study import Study

SEEDS = (2, 3, 5, 10, 20)
TIMES = (1, 2, 5, 10, 20, 50)  # as many items
MAX_SEEDS = 1000
MAX_ITEMS = 10**9


@dataclass(frozen=True, kw_only=True)
class StudyNoise:
    """What hides a difference in a study, and how it is tested.

    num_units: items, or groups of them. items_error: standard error of a paired difference over so many, root mean
    square over the comparisons; taken to stay as it is with more seeds. seed_sd: of one run, without bias; sd_low,
    sd_high: its 95 % interval. freedom: of seed_sd; 0 where the noise of training is not known. num_seeds: a setting,
    the fewest. num_settings: the compared ones. family: comparisons that Holm's correction counts.
    """

    num_units: int
    items_error: float
    seed_sd: float
    sd_low: float
    sd_high: float
    freedom: int
    num_seeds: int
    num_settings: int
    family: int

    def detectable(self, seeds: int, items: float, *, seed_sd: float | None = None) -> float:
        """The true difference that is found with 80 % probability; where training noise is unknown, by items alone."""
        error = self.items_error * math.sqrt(self.num_units / items)
        if not self.freedom:
            return planned_detectable(error, family=self.family)
        shift = (self.seed_sd if seed_sd is None else seed_sd) * math.sqrt(2 / seeds)
        return planned_detectable(error, shift=shift, freedom=self.num_settings * (seeds - 1), family=self.family)

    def fewest_seeds(self, difference: float, *, seed_sd: float | None = None) -> int | None:
        """How many a setting find the difference on the present items, from 2 on."""
        if not self.freedom:
            return None

        def is_enough(seeds: int) -> bool:
            return self.detectable(seeds, self.num_units, seed_sd=seed_sd) <= difference

        return _fewest(is_enough, first=2, last=MAX_SEEDS)

    def fewest_items(self, difference: float, *, seeds: int | None = None) -> int | None:
        """How many find the difference with so many seeds a setting, None: the present ones."""
        seeds = seeds or self.present_seeds
        return _fewest(lambda items: self.detectable(seeds, items) <= difference, first=1, last=MAX_ITEMS)

    @property
    def present_seeds(self) -> int:
        """A setting has so many, 2 at least: without them the noise of training is not known."""
        return max(2, self.num_seeds)


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What shows `difference`. None: no number does; of seeds, or no noise of training is known.

    seeds: a setting, on the present items; seeds_low, seeds_high: for the ends of seed_sd. items: with present seeds.
    """

    difference: float
    noise: StudyNoise
    seeds: int | None
    seeds_low: int | None
    seeds_high: int | None
    items: int | None


def plan(study: Study, *, difference: float) -> StudyPlan | None:
    """Plan from a compared study; None where it compares nothing, or has too few items for a standard error."""
    noise = _noise(study)
    if noise is None:
        return None
    return StudyPlan(
        difference=difference,
        noise=noise,
        seeds=noise.fewest_seeds(difference),
        seeds_low=noise.fewest_seeds(difference, seed_sd=noise.sd_low),
        seeds_high=noise.fewest_seeds(difference, seed_sd=noise.sd_high),
        items=noise.fewest_items(difference),
    )


def _noise(study: Study) -> StudyNoise | None:
    known = [one.items_only.standard_error for one in study.comparisons if not one.difference.reason]
    if not known:
        return None
    compared = {one.name: one for pair in compared_pairs(study) for one in pair}
    spread, freedom, low, high = study.seed_spread, study.freedom, math.nan, math.nan
    if freedom:
        from scipy import stats

        low, high = (spread * math.sqrt(freedom / float(stats.chi2.ppf(part, freedom))) for part in (0.975, 0.025))
        spread = unbiased_deviation(spread, freedom)
    return StudyNoise(
        num_units=study.num_units,
        items_error=math.sqrt(sum(error**2 for error in known) / len(known)),
        seed_sd=spread,
        sd_low=low,
        sd_high=high,
        freedom=freedom,
        num_seeds=min(len(one.runs) for one in compared.values()),
        num_settings=len(compared),
        family=len(known),
    )


def _fewest(is_enough: Callable[[int], bool], *, first: int, last: int) -> int | None:
    """The smallest number that is enough, by halving; None where not even the last one is."""
    if not is_enough(last):
        return None
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if is_enough(middle) else (middle + 1, last)
    return first


def plan_sentences(study: Study, difference: float, found: StudyPlan | None) -> list[str]:
    """What is needed, or why it cannot be told."""
    if found is None:
        return [f"What a difference of {difference:g} needs cannot be told: {why_untested(study)}."]
    noise, units = found.noise, study.units
    alone = f", if it is the only one of {noise.family} comparisons" if noise.family > 1 else ""
    asked = f"To see a difference of {difference:g} in {PRINTED[study.metric]} with 80 % probability{alone}"
    if not noise.freedom:
        return [
            f"{asked}, between these very runs: {_items(found, units)}. How many seeds a setting it needs cannot be "
            "told, for the noise of training is not known: train 2 seeds or more of each setting."
        ]
    said = f"{asked}: {_seeds(found, units)}; {_items(found, units)} with {noise.present_seeds} seeds a setting"
    return [f"{said}{_both(found, units) if found.seeds is None and found.items is None else ''}."]


def _seeds(found: StudyPlan, units: str) -> str:
    noise = found.noise
    here = f"the present {noise.num_units:,} {units}"
    if found.seeds is None:
        least = noise.detectable(MAX_SEEDS, noise.num_units)
        return f"no number of seeds is enough on {here} ({MAX_SEEDS:,} a setting find {least:.3f})"
    high = f"more than {MAX_SEEDS:,}" if found.seeds_high is None else str(found.seeds_high)
    return (
        f"about {found.seeds} seeds a setting on {here} ({found.seeds_low} to {high}, for the SD of seeds, "
        f"{noise.seed_sd:.4f}, is known from {noise.freedom} degrees of freedom alone)"
    )


def _items(found: StudyPlan, units: str) -> str:
    if found.items is None:
        return f"no number of {units} is enough"
    return f"{'or ' if found.noise.freedom else ''}about {_rounded(found.items):,} {units}"


def _both(found: StudyPlan, units: str) -> str:
    """The fewest seeds of a table's rows with which a number of items is enough."""
    for seeds in (*SEEDS, 50, 100, MAX_SEEDS):
        items = found.noise.fewest_items(found.difference, seeds=seeds)
        if items is not None:
            return f"; {seeds:,} seeds a setting and about {_rounded(items):,} {units} are enough"
    return ""


def _rounded(count: int) -> int:
    """Two digits, rounded up: the noise is not known better."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step


def plan_blocks(study: Study, found: StudyPlan | None) -> list[Block]:
    """A table of detectable differences, of seeds a setting (rows) and items (columns)."""
    if found is None:
        return []
    noise, units = found.noise, study.units
    seeds = sorted({*SEEDS, noise.present_seeds}) if noise.freedom else [1]
    counts = [noise.num_units * times for times in TIMES]
    rows = tuple(
        (str(k) if noise.freedom else "these runs", *(number(noise.detectable(k, count)) for count in counts))
        for k in seeds
    )
    training = (
        f"the SD of seeds {noise.seed_sd:.4f} (95 % interval {noise.sd_low:.4f} to {noise.sd_high:.4f}, "
        f"{noise.freedom} degrees of freedom), {noise.num_settings} compared settings"
        if noise.freedom
        else "no noise of training, which single runs do not tell"
    )
    caption = (
        f"The true difference of {PRINTED[study.metric]} that is found with 80 % probability, Holm over {noise.family} "
        f"comparison{'s' * (noise.family > 1)}. From the standard error over the present {noise.num_units:,} {units}, "
        f"{noise.items_error:.4f} (root mean square over the comparisons), and {training}."
    )
    columns = ("seeds a setting", *(f"{count:,} {units}" for count in counts))
    heading = Heading(text=f"Planning: what a difference of {found.difference:g} needs")
    return [heading, TableBlock(columns=columns, rows=rows, caption=caption)]


def plan_json(difference: float, found: StudyPlan | None) -> dict[str, Any]:
    """The plan's numbers."""
    return {"difference": difference} if found is None else asdict(found)
