"""The tab that shows a folder of runs, and its list for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.metrics.resampling import NUM_RESAMPLES
from evqa.web.asked import sentences_of
from evqa.web.fragments import SORTING, error_box, tag
from evqa.web.inputs import MODEL
from evqa.web.run_folders import DAMAGE, RunFolders, experiment, experiments
from evqa.web.run_kept_reports import find_reports, frame, kept_report
from evqa.web.run_media import MediaShelf
from evqa.web.run_report import report_page
from evqa.web.run_view import list_view, run_json, run_view

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
PROGRESS = gr.Progress()  # as a default it is Gradio's way to ask for one


def runs_tab(page: gr.Blocks, folders: RunFolders, shelf: MediaShelf) -> None:
    """Lay out the tab."""
    with gr.Row(equal_height=True):
        split = gr.Dropdown([], label="Split", visible=False)
        refreshing = gr.Button("Refresh", size="sm", scale=0, min_width=120)
    listing = gr.HTML(tag("p", "Reading the runs."), js_on_load=SORTING)
    with gr.Tabs():
        with gr.Tab("One run"):
            run = gr.Dropdown([], label="Run", value=None)
            details = gr.HTML()
        with gr.Tab("Report"):
            with gr.Row(equal_height=True):
                group = gr.Dropdown([], label="Experiment", value=None)
                making = gr.Button("Make the report")
                kept = gr.Dropdown([], label="Reports that lie here", value=None, visible=False)
            report = gr.HTML()

    answers = _Answers(folders, shelf)
    lists = [listing, split, run, group, kept]
    for begin in (page.load, refreshing.click, split.input):
        listed = begin(answers.lists, [split, group], lists, show_progress_on=listing, **PRIVATE)
        listed.then(answers.one_run, [run, split], [details, group], **PRIVATE, **MODEL)
    run.input(answers.one_run, [run, split], [details, group], **PRIVATE, **MODEL)
    making.click(answers.new_report, [group, split], report, **PRIVATE, **MODEL)
    kept.input(answers.one_report, kept, report, **PRIVATE)
    api(_for_programs(folders), api_name="runs")


class _Answers:
    """What the tab shows when something is chosen or pressed."""

    def __init__(self, folders: RunFolders, shelf: MediaShelf) -> None:
        self._folders, self._shelf = folders, shelf

    def lists(self, split: str | None, group: str | None, progress: gr.Progress = PROGRESS) -> tuple[Any, ...]:
        """Return the table, and what can be chosen: split, run, experiment, report."""
        folders = self._folders
        try:
            splits, reports = folders.splits(), list(find_reports(folders))
            split = split if split in splits else splits[0]
            rows = folders.rows(split, watch=lambda runs: progress.tqdm(runs, unit="runs"))
        except OSError as error:
            return (error_box(sentences_of(error)), *[gr.skip()] * 4)
        names = [row.name for row in rows]
        groups = {name: name or folders.root.name for name in experiments(names)}
        return (
            list_view(folders, rows, split=split),
            gr.update(choices=splits, value=split, visible=len(splits) > 1),
            gr.update(choices=names),
            gr.update(
                choices=[(shown, name) for name, shown in groups.items()],
                value=group if group in groups else next(iter(groups), None),
            ),
            gr.update(choices=reports, visible=bool(reports)),
        )

    def one_run(self, name: str | None, split: str) -> tuple[Any, Any]:
        """Show a run, and choose its experiment; where no run is chosen, all stays as it is."""
        if name is None:
            return gr.skip(), gr.skip()
        try:
            run = self._folders.read(name, split)
            return run_view(self._folders, name, run, self._shelf, split=split), experiment(name)
        except DAMAGE as error:
            return error_box(self._folders.said(error)), experiment(name)

    def new_report(self, group: str | None, split: str, progress: gr.Progress = PROGRESS) -> str:
        """Make the report of an experiment."""
        try:
            rows = self._folders.rows(split, watch=lambda runs: [one for one in runs if experiment(one[0]) == group])
            notes = [f"{row.name}: damaged; it is left out." for row in rows if row.kept is None]
            whole = [row.kept.path for row in rows if row.kept is not None]
            if not whole:
                return error_box(notes or "Choose an experiment first.")
            page = report_page(
                whole, notes=notes, split=split, told=lambda num: progress((num, NUM_RESAMPLES), unit="resamples")
            )
        except DAMAGE as error:
            return error_box(self._folders.said(error))
        return frame(page)

    def one_report(self, name: str) -> str:
        """Show a report that lies below the folder."""
        try:
            return kept_report(self._folders, name)
        except DAMAGE as error:
            return error_box(self._folders.said(error))


def _for_programs(folders: RunFolders) -> Callable[..., dict[str, Any]]:
    def list_runs(split: str = "") -> dict[str, Any]:
        """List the runs with their scores, 95 % intervals and numbers of items; the best of each experiment first.

        split: of the scores; empty for the validation split, or the first that there is.
        """
        try:
            return {"runs": [run_json(row) for row in folders.rows(split or folders.splits()[0])]}
        except DAMAGE as error:
            return {"error": folders.said(error)}

    return list_runs
