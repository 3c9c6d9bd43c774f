"""Which settings differ: paired over items, with the noise of training, Holm's correction over the family.

Two things make a score uncertain: other items would have been drawn, and another seed would have trained another model.
The first comes from one bootstrap over items, the same resamples for all runs, so that every difference is paired. The
second comes from the spread over seeds, pooled over the compared settings that have several (assuming that training is
about equally noisy in all of them), and enters a comparison as a t-distributed shift of each draw. What a seed adds to
single items is in both, so intervals err on the wide side. Without enough seeds a comparison is one of these very runs,
and its sentence says so. docs/statistics.md has simulations.

The family of a correction is what the user named: the pairs with the baseline, those of --compare, or all pairs.

# R resamples
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from evqa.errors import RunError
from evqa.metrics import METRICS, Interval, holm, interval, smallest_detectable
from evqa.metrics.correlation import Vector
from evqa.metrics.paired import Difference, difference_of_draws, two_sided_p
from evqa.reporting.axes import Values, setting_name
from evqa.reporting.study import Comparison, SeedPair, Setting, Study

MIN_FREEDOM = 2  # degrees of freedom below which the spread over seeds is a guess
MIN_ITEMS = 30  # or groups; below, neither intervals nor p are what they say
MAX_SETTINGS_ALL_PAIRS = 6
NO_SEED_NOISE = (
    "Too few seeds to know the noise of training: intervals of differences are about items only. A difference of "
    "single runs may be luck of the seed; run more seeds."
)


def compare(
    plain: Study, *, baseline: Values | None = None, family: Mapping[str, Sequence[str]] | None = None
) -> Study:
    """The study with all settings compared with the baseline's (or, without one, with each other), and all seeds.

    family: for some axes the values that a setting must have to be compared (with a baseline, the first of a pair).
    Raises RunError where the baseline or the family is none of the settings.
    """
    plain = replace(plain, baseline=baseline, family=family)
    notes = list(plain.notes)
    pairs = compared_pairs(plain)
    if plain.baseline is None and len(_named(plain)) > MAX_SETTINGS_ALL_PAIRS:
        notes.append(f"{len(_named(plain))} settings are too many to compare all pairs; name a --baseline.")
    if not plain.ids:
        return plain
    compared = [one for one in plain.settings if not pairs or any(one in pair for pair in pairs)]
    spread, freedom = _seed_spread(compared, plain.metric)
    if freedom < MIN_FREEDOM:
        notes += [NO_SEED_NOISE] * (plain.num_units >= MIN_ITEMS)
        spread, freedom = math.nan, 0
    found = [_compare(plain, first, second, spread=spread, freedom=freedom) for first, second in pairs]
    seeds = [
        _compare_seeds(plain, setting, one, other)
        for setting in plain.settings
        for one, other in combinations(range(len(setting.runs)), 2)
    ]
    return replace(
        plain,
        comparisons=_adjusted(found),
        seed_pairs=_adjusted_seeds(seeds),
        seed_spread=spread,
        freedom=freedom,
        notes=tuple(notes),
    )


def compared_pairs(plain: Study) -> list[tuple[Setting, Setting]]:
    """Settings to compare, in the order of the study's comparisons.

    Each with the baseline's counterpart on all other axes, or all pairs of a few settings; as far as named.
    """
    _check_named(plain, "--baseline", (plain.baseline or {}).items())
    named = _named(plain)
    if plain.baseline is not None:
        by_values = {tuple(setting.values.items()): setting for setting in plain.settings}
        counterparts = [(one, by_values.get(tuple({**one.values, **plain.baseline}.items()))) for one in named]
        return [(one, other) for one, other in counterparts if other is not None and other is not one]
    return list(combinations(named, 2)) if len(named) <= MAX_SETTINGS_ALL_PAIRS else []


def why_untested(study: Study) -> str:
    """Why none of a study's comparisons is tested, where that is so."""
    reasons = [one.difference.reason for one in study.comparisons if one.difference.reason]
    return reasons[0] if reasons else "no two settings are compared"


def _named(plain: Study) -> list[Setting]:
    """The settings of the family, all without one. Raises RunError where it names what no setting has."""
    family = plain.family or {}
    _check_named(plain, "--compare", ((key, value) for key, values in family.items() for value in values))
    return [one for one in plain.settings if all(one.values[key] in values for key, values in family.items())]


def _check_named(plain: Study, flag: str, named: Iterable[tuple[str, str]]) -> None:
    for key, value in named:
        known = sorted({setting.values[key] for setting in plain.settings if key in setting.values})
        if value not in known:
            has = f"has {', '.join(known)}" if known else f"is no axis; axes are {', '.join(plain.axes) or 'none'}"
            raise RunError(f"{flag} {key}={value}: among the finished runs '{key}' {has}.")


def _seed_spread(settings: Sequence[Setting], metric: str) -> tuple[float, int]:
    """Standard deviation over seeds, pooled over settings, and its degrees of freedom."""
    pooled = [(len(one.runs) - 1, one.metrics[metric].spread) for one in settings if len(one.runs) > 1]
    pooled = [(freedom, spread) for freedom, spread in pooled if not math.isnan(spread)]
    freedom = sum(part for part, _ in pooled)
    return (math.sqrt(sum(part * spread**2 for part, spread in pooled) / freedom) if freedom else math.nan), freedom


def _compare(plain: Study, first: Setting, second: Setting, *, spread: float, freedom: int) -> Comparison:
    one, other = first.metrics[plain.metric], second.metrics[plain.metric]
    draws_R = first.mean_draws(plain.metric) - second.mean_draws(plain.metric)
    items_only = _over_items(plain, one.mean - other.mean, draws_R, reason=one.reason or other.reason)
    shift = spread * math.sqrt(1 / len(first.runs) + 1 / len(second.runs)) if freedom else 0.0
    difference = with_training(items_only, draws_R, shift=shift, freedom=freedom)
    others = {
        name: _ends(plain, first.mean_draws(name) - second.mean_draws(name)) for name in METRICS if name != plain.metric
    }
    shared = {axis: value for axis, value in first.values.items() if second.values[axis] == value}
    names = [
        setting_name({axis: value for axis, value in one.values.items() if axis not in shared})
        for one in (first, second)
    ]
    return Comparison(
        first=names[0],
        second=names[1],
        shared=setting_name(shared) if shared else "",
        first_seeds=tuple(run.seed for run in first.runs),
        second_seeds=tuple(run.seed for run in second.runs),
        difference=difference,
        items_only=items_only,
        others=others,
        raw_p=difference.p,
        items_raw_p=items_only.p,
        shift=shift,
        freedom=freedom,
    )


def _over_items(plain: Study, value: float, draws_R: Vector, *, reason: str | None) -> Difference:
    """A difference over items; of few items only its value, and the reason."""
    if reason or plain.num_units >= MIN_ITEMS:
        return difference_of_draws(value, draws_R, reason=reason)
    few = difference_of_draws(value, draws_R, reason=f"{plain.size} are too few, a test needs {MIN_ITEMS}")
    return replace(few, low=math.nan, high=math.nan)


def _ends(plain: Study, draws_R: Vector) -> Interval:
    return interval(draws_R if plain.num_units >= MIN_ITEMS else np.empty(0))


def with_training(items_only: Difference, draws_R: Vector, *, shift: float, freedom: int) -> Difference:
    """Add the noise of training, of standard deviation `shift`, to a difference over items.

    The shifts are the quantiles of t in random order: a random sample would add its own error to every p.
    """
    if not shift or items_only.reason:
        return items_only
    from scipy import stats

    quantiles_R = stats.t.ppf((np.arange(len(draws_R)) + 0.5) / len(draws_R), freedom)
    drawn_R = draws_R + np.random.default_rng(0).permutation(quantiles_R) * shift
    error = math.hypot(items_only.standard_error, shift)
    p = two_sided_p(drawn_R, error=error, freedom=freedom * (error / shift) ** 4)  # Satterthwaite's degrees of freedom
    ends = interval(drawn_R)
    return replace(items_only, low=ends.low, high=ends.high, p=p, standard_error=error)


def _adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    p_values = holm([one.raw_p for one in comparisons])
    of_items = holm([one.items_raw_p for one in comparisons])
    family = sum(not math.isnan(p) for p in p_values)
    return tuple(
        replace(
            one,
            difference=replace(one.difference, p=p, detectable=_detectable(one, family=family, freedom=one.freedom)),
            items_only=replace(one.items_only, p=p_items, detectable=_detectable(one, family=family, freedom=0)),
        )
        for one, p, p_items in zip(comparisons, p_values, of_items, strict=True)
    )


def _detectable(one: Comparison, *, family: int, freedom: int) -> float:
    error = one.items_only.standard_error
    return smallest_detectable(error, shift=one.shift, freedom=freedom, family=max(family, 1))


def _compare_seeds(plain: Study, setting: Setting, one: int, other: int) -> SeedPair:
    pooled, draws = setting.metrics[plain.metric], setting.draws[plain.metric]
    value, draws_R = pooled.of_seeds[one] - pooled.of_seeds[other], draws[one] - draws[other]
    difference = _over_items(plain, value, draws_R, reason=pooled.reason)
    first, second = (setting.runs[place].seed for place in (one, other))
    return SeedPair(setting=setting.name, first=first, second=second, difference=difference, raw_p=difference.p)


def _adjusted_seeds(pairs: Sequence[SeedPair]) -> tuple[SeedPair, ...]:
    p_values = holm([pair.raw_p for pair in pairs])
    return tuple(
        replace(pair, difference=replace(pair.difference, p=p)) for pair, p in zip(pairs, p_values, strict=True)
    )
