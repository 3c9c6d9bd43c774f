"""A score as the page shows it: the number with everything that says what it is."""

from __future__ import annotations

from typing import Any

from evqa.scoring.score import Meaning
from evqa.web.clip_view import clip_view
from evqa.web.fragments import Markup, error_box, tag
from evqa.web.scorers import MODALITIES, OfferedScorer, ShownScore


def score_card(item: ShownScore, offered: OfferedScorer) -> Markup:
    """Show a score, or why there is none, and what the model was given."""
    seen = tag("details", tag("summary", "What the model saw"), *map(clip_view, item.clips, item.sounds), open="open")
    if item.score.value is None:
        reason = item.score.failure.reason if item.score.failure else "it has no score"
        return tag("div", error_box(reason), seen)
    meaning = offered.scorer.meaning
    facts = [tag("li", sentence) for sentence in _facts(item, meaning)]
    missing = [tag("li", f"Note: {note}") for note in item.score.missing]
    return tag(
        "div",
        tag("p", tag("strong", f"{item.score.value:.4g}"), f" {meaning.scale.name}", class_="evqa-score"),
        _bar(item, meaning),
        tag("ul", *facts, *missing),
        seen,
        tag("p", f"{MODALITIES[item.modal].capitalize()}; {item.seconds:.2f} s; {offered.about}.", class_="evqa-about"),
        class_="evqa-card",
    )


def _facts(item: ShownScore, meaning: Meaning) -> list[str]:
    scale, score = meaning.scale, item.score
    facts = [f"{scale.name} ({scale.measures}) runs from {scale.low:g} to {scale.high:g}."]
    if score.outside:
        facts.append("This score lies outside of that range; it is shown as it is.")
    if score.percentile is not None:
        facts.append(f"Above {score.percentile:.0f} % of the labels that the scorer was trained on.")
    if score.calibrated is not None and meaning.calibration is not None:
        value, low, high = score.calibrated
        facts.append(f"In the size of the labels {value:.4g}, between {low:.4g} and {high:.4g}.")
        facts.append(meaning.calibration.statement)
    return facts


def _bar(item: ShownScore, meaning: Meaning) -> Markup:
    scale, value = meaning.scale, item.score.value or 0.0
    share = min(max(scale.to_unit(value), 0.0), 1.0)
    fill = tag("div", style=f"width: {100 * share:.1f}%")
    return tag("div", fill, class_="evqa-bar", role="img", aria_label=f"{value:.4g} of {scale.low:g} to {scale.high:g}")


def score_json(item: ShownScore, offered: OfferedScorer) -> dict[str, Any]:
    """What the API answers: the same as plain values."""
    scale, score = offered.scorer.meaning.scale, item.score
    return {
        "scorer": offered.name,
        "modal": item.modal,
        "label": scale.name,
        "range": [scale.low, scale.high],
        "score": score.value,
        "outside": score.outside,
        "percentile": score.percentile,
        "calibrated": None if score.calibrated is None else score.calibrated._asdict(),
        "missing": list(score.missing),
        "error": score.failure.reason if score.failure else None,
        "seconds": round(item.seconds, 3),
    }
