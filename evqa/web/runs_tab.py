"""The tab that shows a folder of runs, and its list for programs."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.events import api

from evqa.metrics.resampling import NUM_RESAMPLES
from evqa.web.asked import sentences_of
from evqa.web.fragments import SORTING, error_box, tag
from evqa.web.inputs import MODEL
from evqa.web.run_folders import DAMAGE, SPLIT, RunFolders, experiment, experiments, read_whole
from evqa.web.run_media import MediaShelf
from evqa.web.run_report import report_page
from evqa.web.run_view import list_view, run_json, run_view


def runs_tab(page: gr.Blocks, folders: RunFolders, shelf: MediaShelf) -> None:
    """Lay out the tab."""
    refreshing = gr.Button("Refresh", size="sm")
    listing = gr.HTML(js_on_load=SORTING)
    with gr.Row():
        chosen = gr.Dropdown([], label="Run", value=None)
        group = gr.Dropdown([], label="Experiment", value=None)
        reporting = gr.Button("Make the report")
    details = gr.HTML()
    report = gr.HTML()

    def refresh() -> tuple[str, dict[str, Any], dict[str, Any]]:
        try:
            rows = folders.rows()
        except OSError as error:
            return error_box(sentences_of(error)), gr.update(), gr.update()
        names = [row.name for row in rows]
        groups = [(name or folders.root.name, name) for name in experiments(names)]
        first = groups[0][1] if groups else None
        return list_view(folders, rows), gr.update(choices=names), gr.update(choices=groups, value=first)

    def show(name: str | None) -> tuple[str, str | None]:
        if name is None:
            return "", None
        try:
            return run_view(folders, name, read_whole(folders.at(name)), shelf), experiment(name)
        except DAMAGE as error:
            return error_box(folders.said(error)), experiment(name)

    def make_report(name: str | None, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008 (Gradio's way)
        def told(num_done: int) -> None:
            progress((num_done, NUM_RESAMPLES), unit="resamples")

        try:
            rows = [row for row in folders.rows() if experiment(row.name) == name]
            notes = [f"{row.name}: damaged; it is left out." for row in rows if row.kept is None]
            whole = [row.kept.path for row in rows if row.kept is not None]
            if not whole:
                return error_box(notes or "Choose an experiment first.")
            page = report_page(whole, notes=notes, split=SPLIT, told=told)
        except DAMAGE as error:
            return error_box(folders.said(error))
        return tag("iframe", srcdoc=page, sandbox="", title="report", class_="evqa-report")

    private: dict[str, Any] = {"api_visibility": "private"}
    for begin in (page.load, refreshing.click):
        begin(refresh, None, [listing, chosen, group], **private)
    chosen.input(show, chosen, [details, group], **private, **MODEL)
    reporting.click(make_report, group, report, **private, **MODEL)

    def list_runs() -> dict[str, Any]:
        """List the runs with their scores, 95 % intervals and numbers of items; the best of each experiment first."""
        return {"runs": [run_json(row) for row in folders.rows()]}

    api(list_runs, api_name="runs")
