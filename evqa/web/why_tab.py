"""The tab that shows what a score depends on, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.explaining.draw import explanation_svg
from evqa.explaining.explain import MOST_SECONDS, explain
from evqa.explaining.explanation import CAUTION, Explanation
from evqa.web.asked import REFUSALS, as_record, sentences_of
from evqa.web.fragments import Markup, error_box, table, tag
from evqa.web.inputs import MODEL, Inputs
from evqa.web.scorers import OfferedScorer, by_name
from evqa.web.uploads import upload_of


def why_tab(offered: Mapping[str, OfferedScorer]) -> None:
    """Lay out the tab."""
    scoring = {name: one for name, one in offered.items() if one.gives_scores}
    gr.Markdown(
        "The score of the first seconds alone, and how the score changes where a second, the picture, the sound or the "
        f"texts are hidden. {CAUTION}"
    )
    inputs = Inputs.lay_out(scoring, modalities=False)
    button = gr.Button("Show what the score depends on", variant="primary")
    found = gr.HTML(label="What the score depends on")

    def show_why(path: str | None, title: str, description: str, name: str) -> str:
        try:
            record = as_record(path, title=title, description=description)
            return _shown(explain(scoring[name].scorer, record, seconds=MOST_SECONDS))
        except REFUSALS as error:
            return error_box(sentences_of(error))

    button.click(show_why, inputs.all, found, api_visibility="private", **MODEL)

    def explain_file(file: gr.FileData, title: str = "", description: str = "", scorer: str = "") -> dict[str, Any]:
        """Say what the score of an uploaded video depends on. scorer: empty for the first one."""
        try:
            record = as_record(str(upload_of(file).path), title=title, description=description)
            return explain(by_name(scoring, scorer).scorer, record, seconds=MOST_SECONDS).to_json()
        except REFUSALS as error:
            return {"error": " ".join(sentences_of(error))}

    api(explain_file, api_name="explain", **MODEL)


def _shown(explanation: Explanation) -> Markup:
    numbers = table(
        ("copy", "score", "change"),
        [(what, f"{score:.4f}", f"{change:+.4f}") for what, score, change in explanation.rows()],
        caption=f"Scores of altered copies; the whole video: {explanation.score:.4f}",
    )
    return tag(
        "div",
        tag("div", Markup(explanation_svg(explanation)), class_="evqa-plot"),
        tag("details", tag("summary", "The numbers"), numbers),
        tag("ul", *(tag("li", f"Note: {note}") for note in explanation.notes)),
        tag("p", CAUTION, class_="evqa-about"),
        class_="evqa-why",
    )
