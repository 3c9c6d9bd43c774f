"""The tab that asks a scorer about one or two files, and the same for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.web.asked import REFUSALS, sentences_of
from evqa.web.chat import VisitorChat, record_of
from evqa.web.fragments import error_box, tag
from evqa.web.inputs import MODEL, player
from evqa.web.scorers import OfferedScorer, by_name
from evqa.web.seconds_part import seconds_part
from evqa.web.uploads import upload_of
from evqa.web.visitors import KEPT_SECONDS

Shown = tuple[Any, ...]  # chat, messages, what is said about them, the field of the question


def ask_tab(offered: Mapping[str, OfferedScorer]) -> None:
    """Lay out the tab."""
    answering = {name: one for name, one in offered.items() if one.answers}
    files, scorer = _files_and_scorer(answering)
    _chat_part(answering, files, scorer)
    seconds_part(answering, files, scorer)
    _for_programs(answering)


def _files_and_scorer(answering: Mapping[str, OfferedScorer]) -> tuple[gr.File, gr.Dropdown]:
    with gr.Row():
        with gr.Column():
            files = gr.File(label="One or two videos or images", file_count="multiple", height=140)
            names = list(answering)
            scorer = gr.Dropdown(names, value=names[0], label="Scorer", visible=len(names) > 1)
        with gr.Column():
            preview = gr.HTML()
    files.change(lambda paths: "".join(map(player, paths or ())), files, preview, api_visibility="private", queue=False)
    return files, scorer


def _chat_part(answering: Mapping[str, OfferedScorer], files: gr.File, scorer: gr.Dropdown) -> None:
    chat = gr.State(VisitorChat(), time_to_live=KEPT_SECONDS)
    messages = gr.Chatbot(
        label="Conversation", height=360, render_markdown=False, latex_delimiters=[], buttons=[],
        allow_file_downloads=False,
    )  # fmt: skip
    said = gr.HTML()
    question = gr.Textbox(label="Question", max_length=20000)
    with gr.Row():
        button = gr.Button("Ask", variant="primary")
        stop_button = gr.Button("Stop")
        new_button = gr.Button("New conversation")
    shown = [chat, messages, said, question]
    unqueued: dict[str, Any] = {"api_visibility": "private", "queue": False}

    def take(chat: VisitorChat, paths: Sequence[str] | None, name: str, text: str) -> Shown:
        try:
            chat.take(text, answering[name], as_paths(paths))
        except REFUSALS as error:
            return chat, gr.skip(), error_box(sentences_of(error)), gr.skip()
        return chat, chat.messages(), _notes(chat), ""

    def answer(chat: VisitorChat) -> Iterator[Shown]:
        if (asked := chat.asked) is None:  # refused, stopped, or another press of the button has answered it
            yield chat, gr.skip(), gr.skip(), gr.skip()
            return
        try:
            for _ in chat.answer():
                yield chat, chat.messages(), _notes(chat), gr.skip()
        except REFUSALS as error:
            yield chat, chat.messages(), error_box(sentences_of(error)), asked.question
            return
        yield chat, chat.messages(), _notes(chat), gr.skip()

    def stop(chat: VisitorChat) -> Any:
        waited = chat.asked is not None and not chat.asked.has_begun
        chat.stop()
        return chat.messages() if waited else gr.skip()  # what has begun shows its end itself

    def begin(chat: VisitorChat, paths: Sequence[str] | None, name: str) -> Shown:
        chat.begin(name, as_paths(paths))
        return chat, [], "", gr.skip()

    taken = gr.on([button.click, question.submit], take, [chat, files, scorer, question], shown, **unqueued)
    taken.then(answer, chat, shown, api_visibility="private", **MODEL)
    stop_button.click(stop, chat, messages, **unqueued)
    gr.on(
        [files.change, scorer.change, new_button.click, messages.clear], begin, [chat, files, scorer], shown, **unqueued
    )


def as_paths(paths: Sequence[str] | None) -> list[Path]:
    """Return what `gr.File` gives as paths."""
    return list(map(Path, paths or ()))


def _notes(chat: VisitorChat) -> str:
    return "".join(tag("p", f"Note: {note}") for note in chat.notes)


def _for_programs(answering: Mapping[str, OfferedScorer]) -> None:
    def ask_files(files: list[gr.FileData], question: str, scorer: str = "") -> dict[str, Any]:
        """Ask about one uploaded video or image, or two of them together. scorer: empty for the first one."""
        try:
            chosen = by_name(answering, scorer)
            record = record_of([upload_of(file).path for file in files], question, chosen)
            (answer,) = chosen.scorer.ask([record], question=question)
        except REFUSALS as error:
            return {"error": " ".join(sentences_of(error))}
        failed = None if answer.failure is None else answer.failure.reason
        return {"scorer": chosen.name, "answer": answer.text, "missing": list(answer.missing), "error": failed}

    api(ask_files, api_name="ask", **MODEL)
