"""The answer of a study in sentences, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evqa.config.metric_names import PRINTED
from evqa.metrics.resampling import NUM_RESAMPLES
from evqa.reporting.canvas import seeds
from evqa.reporting.chosen import ChosenCheckpoint, chosen_of
from evqa.reporting.comparing import MIN_ITEMS
from evqa.reporting.study import Comparison, Pooled, Study
from evqa.reporting.winner import winner_interval

MAX_VERDICTS = 8
MAX_CHOSEN = 3
MAX_PAIRS = 3
ALPHA = 0.05
SMALLEST_P = 0.0001


def verdicts(study: Study) -> list[str]:
    """The answer in sentences."""
    said = [_headline(study), *_search(study), *_chosen(study)]
    if study.ids and study.num_units < MIN_ITEMS:
        said.append(few_items(study.size))
    else:
        said += _verdicts(study)
    if study.seed_pairs:
        said.append(training_noise(study))
    if study.unfinished:
        count = len(study.unfinished)
        said.append(f"Without predictions, so not in the tables but listed below: {count} run{'s' * (count > 1)}.")
    return said


def _headline(study: Study) -> str:
    best, name = study.best, PRINTED[study.metric]
    where = f"on {study.split}" + (f", n = {len(study.ids)} items" if study.ids else "")
    return f"Highest {name} {where}: {best.name}, {with_interval(best.metrics[study.metric])} ({seeds(best)})."


def _search(study: Study) -> list[str]:
    """The winner's interval, where there was a search and enough items for an interval."""
    ends = winner_interval(study) if study.num_units >= MIN_ITEMS else None
    if ends is None:
        return []
    return [
        f"It is the best of {len(study.settings)} settings on these items; the 95 % interval that allows for this "
        f"choice is [{ends.low:.3f}, {ends.high:.3f}]."
    ]


def _chosen(study: Study) -> list[str]:
    """Which checkpoint gave the scores, where it was chosen on the same items."""
    known = [(setting, found) for setting in study.settings if (found := chosen_of(study, setting))]
    if not known:
        return []
    each = [
        f"{setting.name} {chosen_places(found)} (last validation {number(mean_last(found))})"
        for setting, found in known
    ]
    left = f"; {len(each) - MAX_CHOSEN} more in the table" if len(each) > MAX_CHOSEN else ""
    return [
        f"Each checkpoint was chosen on these items, so its score is too high: {'; '.join(each[:MAX_CHOSEN])}{left}."
    ]


def chosen_places(found: Sequence[ChosenCheckpoint]) -> str:
    """`epoch 3 of 4`, of several seeds `epoch 3, 2 of 4`; what is the same stands once."""
    places = dict[tuple[str, str], dict[str, None]]()
    for one in found:
        kind, best, _, total = one.place.split()
        places.setdefault((kind, total), {})[best] = None
    return ", ".join(f"{kind} {', '.join(best)} of {total}" for (kind, total), best in places.items())


def mean_last(found: Sequence[ChosenCheckpoint]) -> float:
    """The mean over seeds of what the last validations had; NaN where one has none, or there is none."""
    return sum(one.last for one in found) / len(found) if found else math.nan


def few_items(size: str) -> str:
    """Why there is no verdict, and what to do."""
    return (
        f"Warning: {size} are too few for a verdict (from {MIN_ITEMS} on): no p is given, and the intervals "
        "are not to be trusted. Folds score every item once: train with data.folds=5 and each of data.fold=0 to 4, "
        "then report them together."
    )


def _verdicts(study: Study) -> list[str]:
    """A sentence for each comparison; of many those that show a difference come first, and the rest is counted."""
    found = list(study.comparisons)
    if len(found) > MAX_VERDICTS:
        found.sort(key=lambda one: not one.difference.p < ALPHA)
    said = [_verdict(study, comparison) for comparison in found[:MAX_VERDICTS]]
    if left := found[MAX_VERDICTS:]:
        count = sum(one.difference.p < ALPHA for one in left)
        more, these = f"{len(left)} more comparison{'s' * (len(left) > 1)}", "is" if len(left) == 1 else "are"
        said.append(f"{more} {these} in the table of paired differences; a difference was shown in {count} of them.")
    return said


def _verdict(study: Study, comparison: Comparison) -> str:
    difference = comparison.difference
    both = f" (both {comparison.shared})" if comparison.shared else ""
    if difference.reason:
        return f"{comparison.first} and {comparison.second}{both} cannot be compared: {difference.reason}."
    family = sum(not one.difference.reason for one in study.comparisons)
    holm = f" (Holm, {family} comparisons)" if family > 1 else ""
    ends = f"[{difference.low:+.3f}, {difference.high:+.3f}]"
    numbers = f"{difference.value:+.3f} {ends}, {p_equals(difference.p)}{holm}"
    first, second = sides(comparison)
    these = "" if comparison.freedom else " on these items"
    if difference.p < ALPHA:
        word = "better" if difference.value > 0 else "worse"
        verb = "is" if comparison.freedom or len(comparison.first_seeds) == 1 else "are"
        turn = "" if comparison.freedom else " Another seed may turn it."
        first = first if comparison.freedom else f"T{first[1:]}"
        return f"{first} {verb} {word} than {second}{both}{these}: {numbers}.{turn}"
    of = "" if comparison.freedom else " between these very runs"
    alone = " if it is the only one" if family > 1 else ""
    return (
        f"No difference was shown between {first} and {second}{both}{these}: {numbers}. A true difference of "
        f"{difference.detectable:.3f}{of} is found with 80 % probability{alone}."
    )


def sides(comparison: Comparison) -> tuple[str, str]:
    """The two settings; where the noise of training is not known, these runs of them."""
    if comparison.freedom:
        return comparison.first, comparison.second
    return _these(comparison.first, comparison.first_seeds), _these(comparison.second, comparison.second_seeds)


def _these(name: str, seeds_of: Sequence[str]) -> str:
    """`the modal=av run (seed 0)`."""
    plural = "s" * (len(seeds_of) > 1)
    return f"the {name} run{plural} (seed{plural} {', '.join(seeds_of)})"


def training_noise(study: Study) -> str:
    """How far seeds of one setting lie apart, and which of them differ by more than items explain."""
    known = [pair for pair in study.seed_pairs if not math.isnan(pair.difference.value)]
    if not known:
        return "Training noise is not known: no two seeds of one setting have a score."
    largest = max(abs(pair.difference.value) for pair in known)
    spread = (
        f"SD over seeds {study.seed_spread:.3f} ({study.freedom} degrees of freedom)"
        if study.freedom
        else "too few seeds for its SD"
    )
    said = f"Training noise: {spread}; seeds of one setting lie up to {largest:.3f} apart."
    tested = [pair for pair in known if not pair.difference.reason]
    if not tested:
        return said
    found = [f"{pair.setting} {pair.first} and {pair.second}" for pair in tested if pair.difference.p < ALPHA]
    count = f"{len(tested)} pairs" if len(tested) > 1 else "the 1 pair"
    if not found:
        return f"{said} None of {count} of seeds differs by more than the chance of items explains."
    more = f" and {len(found) - MAX_PAIRS} more" if len(found) > MAX_PAIRS else ""
    verb = "differ" if len(found) > 1 else "differs"
    return (
        f"{said} {len(found)} of {count} of seeds {verb} by more than the chance of items explains (p < 0.05"
        f"{', Holm' if len(tested) > 1 else ''}): {'; '.join(found[:MAX_PAIRS])}{more}."
    )


def method(study: Study) -> list[str]:
    """How the numbers were computed, in sentences."""
    said = [
        f"Intervals of scores: a bootstrap over {study.units}, {NUM_RESAMPLES} resamples, with a quantile of t on "
        "Fisher's z scale (RMSE: the logarithm). Of differences: percentiles of the same resamples, which are the same "
        "ones for every run, so that differences are paired. PLCC and the challenge score are of raw scores, without a "
        "fitted curve.",
        "p: two-sided, from the draws of the difference; where few of them lie beyond zero, by a normal or t tail that "
        f"agrees with their count at its border. {_family(study)}",
        "Detectable: the true difference that the test behind p, as corrected, finds in 80 % of cases, if it is the "
        "only one of its table.",
        "Settings are what runs differ in; seeds are pooled. Only items that all runs have scored are used.",
    ]
    if study.freedom:
        said.append(
            f"Intervals with seeds add the noise of training: its standard deviation {study.seed_spread:.4f} is pooled "
            f"over the compared settings ({study.freedom} degrees of freedom, taken to be alike everywhere), "
            "t-distributed. Seeds of one setting are not tested against that noise, for it is estimated from them."
        )
    if study.label == "ECR":
        said.append(
            "ECR in the challenge's files is a normalised rank, close to uniform on 0-1: a score of 0.8 means 'ahead "
            "of about 80 % of the videos', not that 80 % of the viewers stay."
        )
    return said


def _family(study: Study) -> str:
    """Which comparisons Holm's correction counts."""
    family = sum(not one.difference.reason for one in study.comparisons)
    against = ", ".join(f"{key}={value}" for key, value in (study.baseline or {}).items())
    pairs = f"each setting against {against}" if against else "all pairs of settings"
    chosen = "; ".join(f"{key}={', '.join(values)}" for key, values in (study.family or {}).items())
    named = f", of settings with {chosen}" if chosen else ""
    stays = "" if chosen else " Further runs join it and change it; --compare AXIS=VALUE names one that they do not."
    return (
        f"Holm's correction holds the chance of any false finding in the table of paired differences below 5 %. Its "
        f"family: {pairs}{named}: {family} comparison{'s' * (family != 1)}.{stays}"
    )


def with_interval(pooled: Pooled) -> str:
    """`0.812 [0.790, 0.831]`, or why there is no value."""
    if math.isnan(pooled.mean):
        return f"none ({pooled.reason})"
    ends = "" if math.isnan(pooled.low) else f" [{pooled.low:.3f}, {pooled.high:.3f}]"
    return f"{pooled.mean:.3f}{ends}"


def number(value: float, *, sign: str = "") -> str:
    """Three decimals; `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"


def ends(low: float, high: float, *, sign: str = "") -> str:
    """The ends of an interval; `-` for NaN."""
    return "-" if math.isnan(low) else f"{low:{sign}.3f} to {high:{sign}.3f}"


def fact(value: float | None) -> str:
    """A plain number; `-` where it is not known."""
    return "-" if value is None else f"{value:g}"


def p_text(value: float) -> str:
    """A p-value with two digits, never more exact than the method; `-` for NaN."""
    if math.isnan(value):
        return "-"
    if value < SMALLEST_P:
        return f"<{SMALLEST_P:.4f}"
    text = f"{value:.2g}"
    return f"<{ALPHA}" if value < ALPHA <= float(text) else text


def p_equals(value: float) -> str:
    """`p = 0.034` or `p < 0.0001`."""
    text = p_text(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
