"""The tab that compares: two videos, one video under two titles, several scorers on one video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from evqa.errors import ConfigError
from evqa.types import Record
from evqa.web.asked import REFUSALS, as_record, sentences_of
from evqa.web.fragments import Markup, error_box, table, tag
from evqa.web.inputs import MODEL, player
from evqa.web.score_card import score_card
from evqa.web.scorers import OfferedScorer, ShownScore

NO_INTERVAL = (
    "A difference between two items is stated as it is: how large differences of equally good videos are is not known "
    "here, so a small one may mean nothing."
)


def compare_tab(offered: Mapping[str, OfferedScorer]) -> None:
    """Lay out the tab."""
    scoring = {name: one for name, one in offered.items() if one.gives_scores}
    gr.Markdown(
        "Two videos; or one video under two titles (leave the second file empty); with one scorer or with several."
    )
    with gr.Row():
        left, right = _side("A"), _side("B")
    names = gr.CheckboxGroup(list(scoring), value=list(scoring), label="Scorers", visible=len(scoring) > 1)
    button = gr.Button("Compare", variant="primary")
    found = gr.HTML(label="Comparison")

    def compare(*fields: Any) -> str:
        *sides, chosen = fields
        try:
            return _compared(*_records(sides), [scoring[name] for name in chosen])
        except REFUSALS as error:
            return error_box(sentences_of(error))

    button.click(compare, [*left, *right, names], found, api_visibility="private", **MODEL)


def _side(name: str) -> list[gr.components.Component]:
    with gr.Column(min_width=280):
        file = gr.File(label=f"Video or image {name}", file_count="single", height=140)
        preview = gr.HTML()
        title = gr.Textbox(label=f"Title {name}", max_length=2000)
        description = gr.Textbox(label=f"Description {name}", lines=2, max_length=20000)
    file.change(player, file, preview, api_visibility="private", queue=False)
    return [file, title, description]


def _records(sides: Sequence[str | None]) -> tuple[Record, Record]:
    """Make both items of file, title and description of A, then of B."""
    first, title, description, second, other_title, other_description = (side or "" for side in sides)
    left = as_record(first, title=title, description=description)
    right = as_record(second or first, title=other_title, description=other_description)
    if left == right:
        raise ConfigError(["A and B are the same: give a second file, or another title or description."])
    return left, right


def _compared(left: Record, right: Record, chosen: Sequence[OfferedScorer]) -> Markup:
    if not chosen:
        raise ConfigError(["Choose a scorer first."])
    deadline = chosen[0].deadline()
    pairs = list[tuple[ShownScore, ShownScore]]()
    for one in chosen:
        pairs.append((one.score(left, modal=one.scorer.modal), one.score(right, modal=one.scorer.modal)))
        deadline.check()
    cards = [
        tag("div", tag("h4", f"{side}, {one.name}" if len(chosen) > 1 else side), score_card(item, one))
        for one, pair in zip(chosen, pairs, strict=True)
        for side, item in zip("AB", pair, strict=True)
    ]
    rows = [
        (one.name, one.scorer.meaning.scale.name, *_numbers(*pair)) for one, pair in zip(chosen, pairs, strict=True)
    ]
    numbers = table(("scorer", "label", "A", "B", "B - A"), rows, caption="Scores side by side")
    return tag(
        "div", numbers, tag("p", NO_INTERVAL, class_="evqa-about"), tag("div", *cards, class_="evqa-pair"),
        class_="evqa-compared",
    )  # fmt: skip


def _numbers(a: ShownScore, b: ShownScore) -> tuple[str, str, str]:
    first, second = a.score.value, b.score.value
    both = "" if first is None or second is None else f"{second - first:+.4g}"
    return _number(first), _number(second), both


def _number(value: float | None) -> str:
    return "no score" if value is None else f"{value:.4g}"
