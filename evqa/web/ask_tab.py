"""The tab that asks a scorer about one or two files, and the same for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.web.asked import REFUSALS, sentences_of
from evqa.web.chat import VisitorChat
from evqa.web.fragments import error_box, tag
from evqa.web.inputs import MODEL, as_paths, players
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
            model = gr.HTML(_about(answering[names[0]]))
        with gr.Column():
            preview = gr.HTML()
    files.change(players, files, preview, api_visibility="private", queue=False)
    scorer.change(lambda name: _about(answering[name]), scorer, model, api_visibility="private", queue=False)
    return files, scorer


def _about(offered: OfferedScorer) -> str:
    return tag("p", f"{offered.about}.", class_="evqa-about")


def _chat_part(answering: Mapping[str, OfferedScorer], files: gr.File, scorer: gr.Dropdown) -> None:
    chat = gr.State(VisitorChat(), time_to_live=KEPT_SECONDS)
    messages = gr.Chatbot(
        show_label=False, height=360, render_markdown=False, latex_delimiters=[], buttons=[], allow_file_downloads=False
    )
    said = gr.HTML()
    question = gr.Textbox(label="Question", max_length=20000)
    with gr.Row():
        button = gr.Button("Ask", variant="primary")
        stop_button = gr.Button("Stop")
        new_button = gr.Button("New conversation")

    def take(chat: VisitorChat, paths: Sequence[str] | None, name: str, text: str) -> Shown:
        try:
            chat.take(text, answering[name], as_paths(paths))
        except REFUSALS as error:
            return chat, gr.skip(), error_box(sentences_of(error)), gr.skip()
        return chat, chat.messages(), _notes(chat), ""

    shown, about = [chat, messages, said, question], [chat, files, scorer]
    unqueued: dict[str, Any] = {"api_visibility": "private", "queue": False}
    taken = gr.on([button.click, question.submit], take, [*about, question], shown, **unqueued)
    taken.then(_answer, chat, shown, api_visibility="private", **MODEL)
    stop_button.click(_stop, chat, messages, **unqueued)
    gr.on([new_button.click, messages.clear], _begin, about, shown, **unqueued)
    gr.on([files.change, scorer.change], change, about, shown, **unqueued)


def _answer(chat: VisitorChat) -> Iterator[Shown]:
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


def _stop(chat: VisitorChat) -> Any:
    waited = chat.asked is not None and not chat.asked.has_begun
    chat.stop()
    return chat.messages() if waited else gr.skip()  # what has begun shows its end itself


def _begin(chat: VisitorChat, paths: Sequence[str] | None, name: str) -> Shown:
    chat.begin(name, as_paths(paths))
    return chat, [], "", gr.skip()


def change(chat: VisitorChat, paths: Sequence[str] | None, name: str) -> Shown:
    """Begin anew with other files or another scorer."""
    if chat.asked is not None and chat.about == (name, tuple(as_paths(paths))):
        return chat, gr.skip(), gr.skip(), gr.skip()  # a question was asked before this was told of the choice
    return _begin(chat, paths, name)


def _notes(chat: VisitorChat) -> str:
    return "".join(tag("p", f"Note: {note}") for note in chat.notes)


def _for_programs(answering: Mapping[str, OfferedScorer]) -> None:
    def ask_files(files: list[gr.FileData], question: str, scorer: str = "") -> Iterator[dict[str, Any]]:
        """Ask about one uploaded video or image, or two of them together. scorer: empty for the first one.

        Each answer holds more of the text than the one before it.
        """
        chat = VisitorChat()
        try:
            chosen, paths = by_name(answering, scorer), [upload_of(file).path for file in files]
            chat.begin(chosen.name, paths)
            chat.take(question, chosen, paths)
            for _ in chat.answer():
                yield _as_json(chat, chosen)
            yield _as_json(chat, chosen) | {"error": chat.said[-1].note or None}
        except REFUSALS as error:
            yield {"error": " ".join(sentences_of(error))}

    api(ask_files, api_name="ask", **MODEL)


def _as_json(chat: VisitorChat, offered: OfferedScorer) -> dict[str, Any]:
    """Return the last answer as far as it has come."""
    return {"scorer": offered.name, "answer": chat.said[-1].answer, "missing": list(chat.notes), "error": None}
