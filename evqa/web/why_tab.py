"""The tab that shows what a score depends on, and the same for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.explaining.draw import explanation_svg
from evqa.explaining.explain import Explaining
from evqa.explaining.explanation import CAUTION, Explanation
from evqa.files.progress import Standing, seconds_left
from evqa.types import Record
from evqa.web.asked import REFUSALS, as_record, sentences_of
from evqa.web.fragments import Markup, error_box, progress_bar, table, tag
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

    def show_why(path: str | None, title: str, description: str, name: str) -> Iterator[str]:
        try:
            record = as_record(path, title=title, description=description)
            for state in explained(scoring[name], record):
                yield _shown(state) if isinstance(state, Explanation) else progress_bar(state, about="copies scored")
        except REFUSALS as error:
            yield error_box(sentences_of(error))

    button.click(show_why, inputs.all, found, api_visibility="private", **MODEL)

    def explain_file(file: gr.FileData, title: str = "", description: str = "", scorer: str = "") -> dict[str, Any]:
        """Say what the score of an uploaded video depends on. scorer: empty for the first one."""
        try:
            record = as_record(str(upload_of(file).path), title=title, description=description)
            *_, explanation = explained(by_name(scoring, scorer), record)
            assert isinstance(explanation, Explanation)
            return explanation.to_json()
        except REFUSALS as error:
            return {"error": " ".join(sentences_of(error))}

    api(explain_file, api_name="explain", **MODEL)


def explained(offered: OfferedScorer, record: Record) -> Iterator[Standing | Explanation]:
    """Yield how far the scoring of the copies is, at last what was found.

    Raises:
        ConfigError: as `explain`, and when the time of a request is over.
        MediaError: the file cannot be read.
    """
    began, deadline = time.monotonic(), offered.deadline()
    explaining = Explaining(offered.scorer, record)
    of = explaining.num_copies
    for done, _ in enumerate(explaining.score(), 1):
        left_s = seconds_left(done, of, seconds=time.monotonic() - began)
        yield Standing(place=f"{done} of {of} copies scored", share=done / of, left_s=left_s)
        deadline.check()
    yield explaining.explanation()


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
