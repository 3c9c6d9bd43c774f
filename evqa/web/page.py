"""The page: its tabs, its look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from evqa import __version__
from evqa.web.ask_tab import ask_tab
from evqa.web.batch_tab import batch_tab
from evqa.web.compare_tab import compare_tab
from evqa.web.run_folders import RunFolders
from evqa.web.run_media import MediaShelf
from evqa.web.runs_tab import runs_tab
from evqa.web.score_tab import score_tab
from evqa.web.scorers import OfferedScorer
from evqa.web.why_tab import why_tab

TITLE = "evqa: how engaging is a video, and how good does it look?"
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # of the visitor's own machine


def theme() -> gr.themes.Base:
    """Gradio's look without letters from another host."""
    return gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])


def build_page(
    offered: Mapping[str, OfferedScorer], *, runs: RunFolders | None = None, shelf: MediaShelf | None = None
) -> gr.Blocks:
    """Lay out the page. runs: shown where given, their media by the shelf."""
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# evqa\nScore a video, see what the score depends on, compare, and ask. Version {__version__}.")
        with gr.Tabs():
            for name, (lay_out, is_wanted) in _tabs(offered).items():
                if is_wanted:
                    with gr.Tab(name):
                        lay_out(offered)
            if runs is not None and shelf is not None:
                with gr.Tab("Runs"):
                    runs_tab(page, runs, shelf)
    return page


def _tabs(offered: Mapping[str, OfferedScorer]) -> dict[str, tuple[Any, bool]]:
    gives_scores = any(one.gives_scores for one in offered.values())
    answers = any(one.answers for one in offered.values())
    return {
        "Score": (score_tab, gives_scores),
        "Why": (why_tab, gives_scores),
        "Compare": (compare_tab, gives_scores),
        "Many": (batch_tab, gives_scores),
        "Ask": (ask_tab, answers),
    }
