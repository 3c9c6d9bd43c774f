"""Are compared settings equivalent, up to a margin that the user states? Of the pairs that a study compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.metrics import holm
from evqa.metrics.equivalence import PairedScores, difference_interval, equivalence_p
from evqa.reporting.comparing import compared_pairs, why_untested
from evqa.reporting.document import Block, Heading, TableBlock
from evqa.reporting.sentences import ALPHA, MAX_VERDICTS, p_equals, p_text, sides
from evqa.reporting.study import Comparison, Study

LEVEL = 1 - 2 * ALPHA


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """One pair; low, high: 90 % interval of the difference. p is adjusted by Holm over all pairs, raw_p is not."""

    comparison: Comparison
    low: float
    high: float
    raw_p: float
    p: float

    @property
    def is_shown(self) -> bool:
        """Whether the two are equivalent within the margin."""
        return self.p < ALPHA


@dataclass(frozen=True, kw_only=True)
class Equivalences:
    """All pairs that can be tested, and how many there are in the study."""

    margin: float
    tests: Sequence[Equivalence]


def equivalences(study: Study, *, margin: float) -> Equivalences:
    """Test every compared pair that has an interval; none of fewer than 30 items."""
    pairs = zip(study.comparisons, compared_pairs(study), strict=True) if study.comparisons else ()
    tests = list[Equivalence]()
    for comparison, settings in pairs:
        if comparison.difference.reason:
            continue
        first, second = settings
        scores = PairedScores(
            values=(first.metrics[study.metric].mean, second.metrics[study.metric].mean),
            draws_R=(first.mean_draws(study.metric), second.mean_draws(study.metric)),
            num_units=study.num_units,
            shift=comparison.shift,
            freedom=comparison.freedom,
        )
        ends, p = difference_interval(scores, level=LEVEL), equivalence_p(scores, margin=margin)
        tests.append(Equivalence(comparison=comparison, low=ends.low, high=ends.high, raw_p=p, p=p))
    adjusted = holm([one.raw_p for one in tests])
    return Equivalences(margin=margin, tests=[replace(one, p=p) for one, p in zip(tests, adjusted, strict=True)])


def equivalence_sentences(study: Study, found: Equivalences) -> list[str]:
    """The answer for each pair, or why there is none."""
    if not found.tests:
        return [f"Equivalence within {found.margin:g} was not tested: {why_untested(study)}."]
    said = [_sentence(one, margin=found.margin, family=len(found.tests)) for one in found.tests[:MAX_VERDICTS]]
    left = len(found.tests) - MAX_VERDICTS
    return [*said, f"{left} more tests of equivalence are in their table."] if left > 0 else said


def _sentence(one: Equivalence, *, margin: float, family: int) -> str:
    comparison = one.comparison
    first, second = sides(comparison)
    both = f" (both {comparison.shared})" if comparison.shared else ""
    these, turn = ("", "") if comparison.freedom else (" on these items", " Another seed may turn it.")
    holm_of = f" (Holm, {family} comparisons)" if family > 1 else ""
    lies = " lies inside" if -margin < one.low and one.high < margin else ""
    value = f"{comparison.difference.value:+.4f} (90 % interval [{one.low:+.4f}, {one.high:+.4f}]{lies})"
    numbers = f"{value}, {p_equals(one.p)}{holm_of}"
    if not one.is_shown:
        return f"Equivalence of {first} and {second}{both} within {margin:g}{these} was not shown: {numbers}."
    if not comparison.freedom:
        first = f"T{first[1:]}"
    return f"{first} and {second}{both} are equivalent within {margin:g}{these}: {numbers}.{turn}"


def equivalence_blocks(study: Study, found: Equivalences) -> list[Block]:
    """The table of all pairs."""
    if not found.tests:
        return []
    rows = tuple(
        (
            one.comparison.first,
            one.comparison.second,
            one.comparison.shared,
            f"{one.comparison.difference.value:+.4f}",
            f"{one.low:+.4f} to {one.high:+.4f}",
            p_text(one.raw_p),
            p_text(one.p),
            "shown" if one.is_shown else "not shown",
        )
        for one in found.tests
    )
    caption = (
        f"Difference of {PRINTED[study.metric]}, first less second. Two one-sided tests. Shown: "
        "p (Holm) below 0.05. Where equivalence was not shown there may yet be no difference."
    )
    columns = ("first", "second", "both", "difference", "90 % interval", "p", "p (Holm)", "equivalence")
    heading = Heading(text=f"Equivalence within {found.margin:g}")
    return [heading, TableBlock(columns=columns, rows=rows, left=3, caption=caption)]


def equivalence_json(found: Equivalences) -> dict[str, Any]:
    """The numbers of the table."""
    return {
        "margin": found.margin,
        "tests": [
            {
                "first": one.comparison.first,
                "second": one.comparison.second,
                "shared": one.comparison.shared,
                "difference": one.comparison.difference.value,
                "low": one.low,
                "high": one.high,
                "p": one.raw_p,
                "p_holm": one.p,
                "shown": one.is_shown,
            }
            for one in found.tests
        ],
    }
