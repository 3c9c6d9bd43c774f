"""How a run has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evqa.config.metric_names import PRINTED
from evqa.web.fragments import Markup, tag

LOGGED = {
    "train/loss": "training loss",
    "val/challenge": f"validation {PRINTED['challenge']}",
    "val/loss": "validation loss",  # of a run that has no scores
}


def curves(history: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw what a run has logged of loss and metric over optimizer steps; a sentence where nothing was logged."""
    logged = {key for row in history for key in row}
    names = {key: name for key, name in LOGGED.items() if key in logged}
    if not names:
        return tag("p", "No learning curves: the run has logged none.")
    drawn = (_curve(history, key, name) for key, name in names.items())
    label = f"learning curves: {' and '.join(names.values())} over optimizer steps"
    return tag("div", *drawn, class_="evqa-plot evqa-curves", role="img", aria_label=label)


def _curve(history: Sequence[Mapping[str, Any]], key: str, name: str) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from evqa.reporting.canvas import SCREEN, as_svg
    from evqa.reporting.plots import draw_curve

    with mpl.rc_context(SCREEN.style):
        figure = Figure(figsize=(4.5, 3.2))
        panel = figure.subplots()
        draw_curve(panel, history, key, size=1.0, marker="o")
        panel.set_ylabel(name)
        panel.set_xlabel("optimizer step")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return Markup(as_svg(figure, name=key))
