"""What a report examines beside its settings: what users act on, differences by tag, baselines without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.metrics.calibration import LineEstimates
from evqa.reporting.baselines import Baseline, baseline_sentences, baselines, baselines_table
from evqa.reporting.calibration_table import calibration_blocks, calibrations
from evqa.reporting.decisions import Decisions, decide
from evqa.reporting.document import Block, Bullets, Heading, Paragraph, TableBlock
from evqa.reporting.equivalence import (
    Equivalences,
    equivalence_blocks,
    equivalence_json,
    equivalence_sentences,
    equivalences,
)
from evqa.reporting.interactions import Interaction, Interactions, interactions
from evqa.reporting.item_media import ItemMedia
from evqa.reporting.planning import StudyPlan, plan, plan_blocks, plan_json, plan_sentences
from evqa.reporting.sentences import ALPHA, ends, number, p_equals, p_text
from evqa.reporting.study import Study
from evqa.reporting.text_ridge import TextScores


@dataclass(frozen=True, kw_only=True)
class Further:
    """Interactions of the compared settings with tags, baselines, and what users act on (None without labels).

    calibrations: the labels' line of each setting that is shown.
    equivalences: where a margin was stated. difference: to plan for, where one was; plan: None where none can be made.
    media: what is shown of single items beside their numbers.
    """

    interactions: Interactions
    baselines: tuple[Baseline, ...]
    decisions: Decisions | None
    calibrations: Mapping[str, LineEstimates]
    equivalences: Equivalences | None = None
    difference: float | None = None
    plan: StudyPlan | None = None
    media: ItemMedia = field(default_factory=ItemMedia)


def examine(
    study: Study,
    *,
    margin: float | None = None,
    difference: float | None = None,
    media: ItemMedia | None = None,
    texts: TextScores | None = None,
) -> Further:
    """Compute all; seconds for 8,000 items. margin: of equivalence. difference: to plan for."""
    return Further(
        interactions=interactions(study),
        baselines=baselines(study, texts),
        decisions=decide(study),
        calibrations=calibrations(study),
        equivalences=None if margin is None else equivalences(study, margin=margin),
        difference=difference,
        plan=None if difference is None else plan(study, difference=difference),
        media=media or ItemMedia(),
    )


def further_sentences(study: Study, further: Further) -> list[str]:
    """The answers, for the top of a report and the terminal."""
    said = [*interaction_sentences(further.interactions), *baseline_sentences(study, further.baselines)]
    if further.equivalences is not None:
        said = [*equivalence_sentences(study, further.equivalences), *said]
    if further.difference is not None:
        said += plan_sentences(study, further.difference, further.plan)
    return said


def comparison_blocks(study: Study, further: Further) -> list[Block]:
    """What belongs to the paired differences: tests of equivalence, and what a difference needs."""
    tested = equivalence_blocks(study, further.equivalences) if further.equivalences is not None else []
    return [*tested, *plan_blocks(study, further.plan)]


def further_blocks(study: Study, further: Further) -> list[Block]:
    """The tables behind them; what users act on stands elsewhere."""
    blocks = list[Block]()
    tested = further.interactions
    if tested.found or tested.left_out:
        blocks.append(Heading(text="Differences by tag"))
    if tested.found:
        blocks += [Bullets(items=tuple(interaction_sentences(tested))), _interactions_table(study, tested)]
    if tested.left_out:
        blocks.append(Paragraph(text=f"Not tested: {'; '.join(tested.left_out)}."))
    if further.baselines:
        blocks += [Heading(text="Baselines"), baselines_table(study, further.baselines)]
    return blocks + calibration_blocks(study, further.calibrations)


def further_json(further: Further) -> dict[str, Any]:
    """The numbers of all tables."""
    tested, wanted = further.equivalences, further.difference
    return {
        "interactions": [_plain(one) for one in further.interactions.found],
        "baselines": [asdict(one) for one in further.baselines],
        "decisions": further.decisions and asdict(further.decisions),
        "calibrations": {
            name: {part: asdict(estimate) for part, estimate in line._asdict().items()}
            for name, line in further.calibrations.items()
        },
        **({} if tested is None else {"equivalence": equivalence_json(tested)}),
        **({} if wanted is None else {"plan": plan_json(wanted, further.plan)}),
    }


def _plain(one: Interaction) -> dict[str, Any]:
    fields = asdict(one)
    return {**fields, "p_holm": fields["difference"].pop("p"), "p": fields.pop("raw_p")}


def interaction_sentences(tested: Interactions) -> list[str]:
    """One for each interaction that was shown, or that none was."""
    known = [one for one in tested.found if not one.difference.reason]
    if not known:
        return []
    shown = [one for one in known if one.difference.p < ALPHA]
    if shown:
        return [_sentence(one, family=len(known)) for one in shown]
    columns = ", ".join(dict.fromkeys(one.column for one in known))
    smallest = min(one.difference.p for one in known)
    count = f"{len(known)} interactions, Holm; smallest {p_equals(smallest)}" if len(known) > 1 else p_equals(smallest)
    return [f"No interaction was shown: differences between settings were not seen to depend on {columns} ({count})."]


def _sentence(one: Interaction, *, family: int) -> str:
    """`modal=av gains more over modal=v where category=music (+0.062) than elsewhere (+0.021): +0.041 [...]`."""
    difference = one.difference
    both = f" (both {one.shared})" if one.shared else ""
    where = f"where {one.column}={one.elsewhere}" if one.elsewhere else "elsewhere"
    holm = f" (Holm, {family} interactions)" if family > 1 else ""
    these = "" if one.freedom else " Another seed may turn it."
    return (
        f"{one.first} less {one.second}{both} is {'higher' if difference.value > 0 else 'lower'} where "
        f"{one.column}={one.value} ({one.inside:+.3f}) than {where} ({one.outside:+.3f}): {difference.value:+.3f} "
        f"[{difference.low:+.3f}, {difference.high:+.3f}], {p_equals(difference.p)}{holm}.{these}"
    )


def _interactions_table(study: Study, tested: Interactions) -> TableBlock:
    columns = ("settings", "part", "n", "there", "95 %, items", "elsewhere", "95 %, items")
    numbers = ("there less elsewhere", "95 %", "p", "p (Holm)", "detectable")
    total = len(study.comparisons)
    of = f"the first {tested.num_pairs} of {total} comparisons" if tested.num_pairs < total else "all comparisons"
    return TableBlock(
        columns=(*columns, *numbers),
        rows=tuple(_row(one) for one in tested.found),
        left=2,
        caption=f"Differences of {PRINTED[study.metric]} on parts of the items, of {of}; elsewhere: the other items "
        "that have a value of this column. Of a column with two values the second says the same as the first.",
    )


def _row(one: Interaction) -> tuple[str, ...]:
    both, difference = f" (both {one.shared})" if one.shared else "", one.difference
    return (
        f"{one.first} less {one.second}{both}",
        f"{one.column}={one.value}" + (f", elsewhere {one.elsewhere}" if one.elsewhere else ""),
        str(one.n),
        number(one.inside, sign="+"),
        ends(one.inside_ends.low, one.inside_ends.high, sign="+"),
        number(one.outside, sign="+"),
        ends(one.outside_ends.low, one.outside_ends.high, sign="+"),
        difference.reason or number(difference.value, sign="+"),
        ends(difference.low, difference.high, sign="+"),
        p_text(one.raw_p),
        p_text(difference.p),
        number(difference.detectable),
    )
