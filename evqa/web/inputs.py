"""The fields of one item: file, texts, scorer and what it may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from evqa.media.suffixes import IMAGE
from evqa.web.scorers import MODALITIES, OfferedScorer

# Of everything that computes: one at a time, in order, whoever asks.
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The components, in the order in which functions take them."""

    file: gr.File
    title: gr.Textbox
    description: gr.Textbox
    scorer: gr.Dropdown
    modal: gr.Radio | None

    @property
    def all(self) -> list[Any]:
        """File, title, description, scorer, and the modality where it is asked for."""
        fields = [self.file, self.title, self.description, self.scorer]
        return fields if self.modal is None else [*fields, self.modal]

    @classmethod
    def lay_out(cls, offered: Mapping[str, OfferedScorer], *, modalities: bool = True) -> Inputs:
        """Place the fields; choosing a scorer offers its modalities, where they are asked for."""
        with gr.Row():
            with gr.Column():
                file = gr.File(label="Video or image", file_count="single", height=140)
                preview = gr.HTML()
            with gr.Column():
                title = gr.Textbox(label="Title", max_length=2000)
                description = gr.Textbox(label="Description", lines=2, max_length=20000)
                scorer = gr.Dropdown(list(offered), value=next(iter(offered)), label="Scorer", visible=len(offered) > 1)
                first = next(iter(offered.values()))
                modal = gr.Radio(**_modalities(first), label="It reads") if modalities else None
        file.change(player, file, preview, api_visibility="private", queue=False)
        if modal is not None:
            offer: dict[str, Any] = {"inputs": scorer, "outputs": modal, "api_visibility": "private", "queue": False}
            scorer.change(lambda name: gr.update(**_modalities(offered[name])), **offer)
        return cls(file=file, title=title, description=description, scorer=scorer, modal=modal)


def _modalities(offered: OfferedScorer) -> dict[str, Any]:
    choices = [(MODALITIES[modal], modal) for modal in offered.modalities]
    return {"choices": choices, "value": offered.modalities[0]}


def player(path: str | None) -> str:
    """Show an uploaded file; a browser plays what it can."""
    if not path:
        return ""
    source = escape(f"/gradio_api/file={quote(path)}")
    if path.lower().endswith(IMAGE):
        return f'<img class="evqa-preview" src="{source}" alt="the chosen image">'
    return f'<video class="evqa-preview" src="{source}" controls preload="metadata"></video>'


def players(paths: Sequence[str] | None) -> str:
    """Show several uploaded files beside each other."""
    return f'<div class="evqa-previews">{"".join(map(player, paths or ()))}</div>'


def as_paths(paths: Sequence[str] | None) -> list[Path]:
    """Return what `gr.File` gives as paths."""
    return list(map(Path, paths or ()))
