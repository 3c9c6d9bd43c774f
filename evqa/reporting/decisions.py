"""What users act on: which of two items is better, which items are among the best; of the settings that are shown.

# B bins of label distance, R resamples, S seeds
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evqa.files.progress import BEGINS_ANEW, counted
from evqa.metrics import RANKING, pairwise_by_gap, share_interval
from evqa.metrics.correlation import Measure, Vector
from evqa.metrics.evaluation import Estimate
from evqa.metrics.pairs import gap_draws
from evqa.metrics.ranking import by_chance, num_judged, ranking_draws
from evqa.reporting.document import Block, Heading, TableBlock
from evqa.reporting.plots import left_out, shown_settings
from evqa.reporting.sentences import ends, number
from evqa.reporting.study import Setting, Study

COLUMNS = {
    "pairwise": "pairs in order",
    "precision_10": "precision, top 10 %",
    "precision_20": "precision, top 20 %",
    "ndcg_20": "NDCG@20 %",
    "auc_20": "AUC of the top 20 %",
}
GAPS = (0.0, 0.5, 1.0, 2.0, math.inf)  # in standard deviations of the labels
NUM_GAP_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The best setting's pairs whose labels are `least` <= distance < `most` apart, in the label's scale."""

    least: float
    most: float
    in_order: Estimate


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Measures of `RANKING` by setting, means over seeds; what they are by chance; pairs of the best setting."""

    settings: Mapping[str, Mapping[str, Estimate]]
    by_chance: Mapping[str, float]
    gaps: Sequence[Gap]


def decide(study: Study) -> Decisions | None:
    """Compute the measures for the settings that are shown; None where no labels are known."""
    if not study.ids:
        return None
    settings = _rankings(study, shown_settings(study))
    return Decisions(settings=settings, by_chance=by_chance(study.labels_N), gaps=_gaps(study))


def _rankings(study: Study, settings: Sequence[Setting]) -> dict[str, dict[str, Estimate]]:
    """The measures of all settings, with the same resamples."""
    each = [scores_N for setting in settings for scores_N in setting.scores_SN]
    krocc = [draws_R for setting in settings for draws_R in setting.draws["krocc"]]
    with counted("ranking the items of settings", len(krocc[0]), stderr=True, then=BEGINS_ANEW) as counting:
        drawn = iter(ranking_draws(each, study.labels_N, krocc, groups=study.groups, told=counting.move))
    return {one.name: _ranking(study, one, [next(drawn) for _ in one.runs]) for one in settings}


def _ranking(study: Study, setting: Setting, of_seeds: Sequence[Mapping[str, Vector]]) -> dict[str, Estimate]:
    judged = num_judged(study.labels_N)
    return {
        name: _pooled(
            [measure(scores_N, study.labels_N) for scores_N in setting.scores_SN],
            [draws[name] for draws in of_seeds],
            study=study,
            num_judged=judged[name],
        )
        for name, measure in RANKING.items()
    }


def _gaps(study: Study) -> list[Gap]:
    edges = [gap * float(study.labels_N.std()) for gap in GAPS[:-1]] + [math.inf]
    scores_SN, labels_N = study.best.scores_SN, study.labels_N
    draws_SRB = gap_draws(scores_SN, labels_N, edges=edges, num_resamples=NUM_GAP_RESAMPLES, groups=study.groups)
    measures_SB = [pairwise_by_gap(scores_N, labels_N, edges=edges) for scores_N in scores_SN]
    return [
        Gap(
            least=least,
            most=most,
            in_order=_pooled(
                [measures_B[place] for measures_B in measures_SB],
                list(draws_SRB[:, :, place]),
                study=study,
                num_judged=len(labels_N),
            ),
        )
        for place, (least, most) in enumerate(pairwise(edges))
    ]


def _pooled(measures: Sequence[Measure], draws_SR: Sequence[Vector], *, study: Study, num_judged: float) -> Estimate:
    """The mean over seeds with its interval over items, or groups of them."""
    mean, num_units = float(np.mean([measure.value for measure in measures])), study.num_units
    judged = num_judged * num_units / len(study.ids)
    found = share_interval(mean, np.asarray(np.mean(draws_SR, axis=0)), num_units=num_units, num_judged=judged)
    reason = next((measure.reason for measure in measures if measure.reason), None) or found.reason
    return Estimate(value=mean, low=found.low, high=found.high, reason=reason)


def decision_blocks(study: Study, decisions: Decisions) -> list[Block]:
    """The section of the report."""
    rows = [(name, *(_cell(found[key]) for key in COLUMNS)) for name, found in decisions.settings.items()]
    chance = ("by chance", *(number(decisions.by_chance[key]) for key in COLUMNS))
    caption = (
        f"Split '{study.split}', n = {study.size}. Means over seeds; 95 % intervals over {study.units}. Pairs in "
        "order: of two items with different labels, how often the better one has the higher score. Precision: how many "
        "of the items with the highest scores are among those with the highest labels. AUC: how often an item of the "
        f"top has a higher score than one below it.{left_out(study)}"
    )
    return [
        Heading(text="What users act on"),
        TableBlock(columns=("setting", *COLUMNS.values()), rows=(*rows, chance), caption=caption),
        _gap_table(study, decisions.gaps),
    ]


def _gap_table(study: Study, gaps: Sequence[Gap]) -> TableBlock:
    rows = tuple(
        (_distance(one), number(one.in_order.value), ends(one.in_order.low, one.in_order.high)) for one in gaps
    )
    caption = f"Pairs in order by how far their labels are apart (0.5, 1 and 2 of their SDs): {study.best.name}"
    return TableBlock(
        columns=("distance of labels", "pairs in order", "95 % interval"), rows=rows, caption=caption, folded=True
    )


def _distance(gap: Gap) -> str:
    return f"{gap.least:.3g} and more" if math.isinf(gap.most) else f"{gap.least:.3g} to {gap.most:.3g}"


def _cell(estimate: Estimate) -> str:
    interval = "" if math.isnan(estimate.low) else f" ({ends(estimate.low, estimate.high)})"
    return f"{number(estimate.value)}{interval}"
