"""An explanation as a picture: the score over the first seconds, and what hiding a second or a modality changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evqa.explaining.explanation import Explanation, Hidden
from evqa.files.names import shown
from evqa.reporting.canvas import NEUTRAL, STYLE, as_svg, save, wrapped
from evqa.reporting.colours import INK

LOWER, HIGHER = "#b5483a", "#2f6f9f"  # a change's colours; also told apart by their side of zero


def draw_explanation(explanation: Explanation, path: Path) -> None:
    """Write the picture as a PNG."""
    with mpl.rc_context(STYLE):
        save(_figure(explanation), path)


def explanation_svg(explanation: Explanation) -> str:
    """Return the picture for a page."""
    with mpl.rc_context(STYLE):
        return as_svg(_figure(explanation), name="why")


def _figure(explanation: Explanation) -> Figure:
    panels = [_openings] * bool(explanation.openings) + [_seconds] * bool(explanation.hidden_seconds)
    panels += [_modalities] * bool(explanation.hidden_modalities)
    figure = Figure(figsize=(7.6, 0.8 + 2.2 * max(1, len(panels))))
    figure.suptitle(wrapped(f"{shown(Path(explanation.id).name)}: {_named(explanation)}", width=80), x=0.01, ha="left")
    if not panels:
        figure.text(0.01, 0.5, "nothing could be hidden")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0] if panels else ()
    for draw, panel in zip(panels, axes, strict=True):
        draw(panel, explanation)
    return figure


def _named(explanation: Explanation) -> str:
    return f"{shown(explanation.scale.name)} {explanation.score:.4g} ({explanation.modal})"


def _openings(panel: Axes, explanation: Explanation) -> None:
    ends = [(opening.seconds, opening.score) for opening in explanation.openings]
    if explanation.seconds <= ends[-1][0] + 1:
        ends.append((explanation.seconds, explanation.score))
    seconds, scores = zip(*ends, strict=True)
    panel.axhline(explanation.score, color=NEUTRAL, linewidth=1.2, linestyle="--", label="the whole video")
    panel.plot(seconds, scores, color=INK, marker="o", label="a copy that ends there")
    panel.set_title("score of the first seconds alone")
    panel.set_xlabel("seconds")
    panel.set_xticks(seconds, [f"{end:.3g}" for end in seconds])
    panel.set_ylabel(shown(explanation.scale.name))
    panel.legend(loc="best")


def _seconds(panel: Axes, explanation: Explanation) -> None:
    _bars(
        panel,
        explanation.hidden_seconds,
        [hidden.what.removeprefix("second ") for hidden in explanation.hidden_seconds],
    )
    panel.set_title("change where a second is grey and silent")
    panel.set_xlabel("second that is hidden (0: the first)")


def _modalities(panel: Axes, explanation: Explanation) -> None:
    _bars(panel, explanation.hidden_modalities, [f"without {hidden.what}" for hidden in explanation.hidden_modalities])
    panel.set_title("change where all of it is left out")


def _bars(panel: Axes, hidden: Sequence[Hidden], names: Sequence[str]) -> None:
    changes = [one.change for one in hidden]
    panel.bar(range(len(names)), changes, width=0.6, color=[LOWER if change < 0 else HIGHER for change in changes])
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set_xticks(range(len(names)), names)
    panel.set_xlim(-0.6, max(len(names), 4) - 0.4)
    panel.grid(visible=False, axis="x")
    panel.set_ylabel("change")
