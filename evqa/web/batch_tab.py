"""The tab that scores many files, and the same for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.events import api

from evqa.scoring.outcome import json_line
from evqa.web.asked import REFUSALS, sentences_of
from evqa.web.batch import FileBatch, StopSign, score_batch
from evqa.web.batch_view import ending, progress, score_table
from evqa.web.fragments import SORTING, as_unicode
from evqa.web.inputs import MODEL
from evqa.web.scorers import OfferedScorer, by_name
from evqa.web.uploads import Upload, field_of_uploads, upload_of

ABOUT = """\
Choose videos and images; or a table (.csv .tsv .jsonl) together with the files that its rows name, by their names
without folders: columns id or path, title, description."""
KEPT_SECONDS = 3600  # of a visitor's stop sign


def batch_tab(offered: Mapping[str, OfferedScorer]) -> None:
    """Lay out the tab."""
    scoring = {name: one for name, one in offered.items() if one.gives_scores}
    gr.Markdown(ABOUT)
    files = field_of_uploads(label="Files", height=180)
    scorer = gr.Dropdown(list(scoring), value=next(iter(scoring)), label="Scorer", visible=len(scoring) > 1)
    with gr.Row():
        button = gr.Button("Score all", variant="primary")
        stopping = gr.Button("Stop")
    stop = gr.State(StopSign(), time_to_live=KEPT_SECONDS)
    status = gr.HTML()
    scores = gr.HTML(js_on_load=SORTING)
    end = gr.HTML()

    def score_all(uploads: Sequence[Upload], name: str, stop: StopSign) -> Iterator[tuple[str, str, str]]:
        stop.is_asked = False
        for batch in score_batch(uploads, scoring[name], stop=stop):
            yield progress(batch), score_table(batch), ending(batch)

    def ask_to_stop(stop: StopSign) -> None:
        stop.is_asked = True

    outputs = [status, scores, end]
    button.click(score_all, [files, scorer, stop], outputs, api_visibility="private", show_progress_on=status, **MODEL)
    stopping.click(ask_to_stop, stop, None, api_visibility="private", queue=False)

    def score_many(files: list[gr.FileData], scorer: str = "") -> dict[str, Any]:
        """Score uploaded files, or what uploaded tables name of them. scorer: empty for the first one."""
        try:
            chosen, uploads = by_name(scoring, scorer), [upload_of(file) for file in files]
        except REFUSALS as error:
            return {"error": " ".join(sentences_of(error))}
        *_, batch = score_batch(uploads, chosen, stop=StopSign())
        return _as_json(batch)

    api(score_many, api_name="score_many", **MODEL)


def _as_json(batch: FileBatch) -> dict[str, Any]:
    if batch.problems:
        return {"error": " ".join(batch.problems)}
    rows = [json.loads(json_line(outcome, batch.meaning)) for outcome in batch.outcomes]
    for row in rows:
        del row["path"]  # of the server
        row |= {key: as_unicode(value) for key, value in row.items() if isinstance(value, str)}
    return {"items": rows, "notes": list(map(as_unicode, batch.notes))}
