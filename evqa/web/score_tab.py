"""The tab that scores one file, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.web.asked import REFUSALS, as_record, sentences_of
from evqa.web.fragments import error_box
from evqa.web.inputs import MODEL, Inputs
from evqa.web.score_card import score_card, score_json
from evqa.web.scorers import OfferedScorer, by_name
from evqa.web.uploads import upload_of


def score_tab(offered: Mapping[str, OfferedScorer]) -> None:
    """Lay out the tab."""
    scoring = {name: one for name, one in offered.items() if one.gives_scores}
    inputs = Inputs.lay_out(scoring)
    button = gr.Button("Score", variant="primary")
    card = gr.HTML(label="Score")

    def show_score(path: str | None, title: str, description: str, name: str, modal: str) -> str:
        try:
            item = scoring[name].score(as_record(path, title=title, description=description), modal=modal)
        except REFUSALS as error:
            return error_box(sentences_of(error))
        return score_card(item, scoring[name])

    button.click(show_score, inputs.all, card, api_visibility="private", **MODEL)

    def score_file(
        file: gr.FileData, title: str = "", description: str = "", scorer: str = "", modal: str = ""
    ) -> dict[str, Any]:
        """Score an uploaded video or image. scorer, modal: empty for the first one, and for all that it reads."""
        try:
            record = as_record(str(upload_of(file).path), title=title, description=description)
            offered = by_name(scoring, scorer)
            return score_json(offered.score(record, modal=modal or offered.scorer.modal), offered)
        except REFUSALS as error:
            return {"error": " ".join(sentences_of(error))}

    api(score_file, api_name="score", **MODEL)
