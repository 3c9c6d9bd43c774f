"""The part of the tab "Ask" that asks about every second of a video."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from evqa.errors import ConfigError
from evqa.files.progress import Standing, seconds_left
from evqa.prompts.prompt import Prompt
from evqa.scoring.annotation import AnnotatedVideo, Annotator
from evqa.scoring.each_second import prompt_and_others
from evqa.scoring.scorer import LONG_ANSWER
from evqa.web.asked import NO_FILE, REFUSALS, sentences_of
from evqa.web.fragments import error_box, progress_bar
from evqa.web.inputs import MODEL, as_paths
from evqa.web.scorers import OfferedScorer
from evqa.web.seconds_card import seconds_card
from evqa.web.visitors import KEPT_SECONDS

ABOUT = (
    "Every second of a video, by itself: what the model says of eight dimensions of its quality, and how likely it "
    "finds good words for each (the level)."
)
NO_SOUND = "The sound is not read; every second is asked about by its frames."


@dataclass(eq=False)
class SecondsJob:
    """One press of the button.

    about: scorer and files. is_stopped: what has been found is shown. is_dropped: it is not.
    """

    about: tuple[str, tuple[Path, ...]] = ("", ())
    has_begun: bool = False
    is_stopped: bool = False
    is_dropped: bool = False


@dataclass(eq=False)
class SecondsDesk:
    """A page's last job; it lies in the page's own session, and is stopped from another thread."""

    job: SecondsJob | None = None

    def begin(self, scorer: str = "", paths: Sequence[Path] = ()) -> None:
        """Want another job, unless one is wanted already."""
        if self.job is None:
            self.job = SecondsJob(about=(scorer, tuple(paths)))

    def stop(self, *, drop: bool = False) -> None:
        """End the job."""
        job, self.job = self.job, None
        if job is not None:
            job.is_stopped, job.is_dropped = True, drop

    def take(self) -> SecondsJob | None:
        """Return the job that is wanted, where nobody has taken it."""
        if self.job is None or self.job.has_begun:
            return None
        self.job.has_begun = True
        return self.job


def seconds_part(offered: Mapping[str, OfferedScorer], files: gr.File, scorer: gr.Dropdown) -> None:
    """Lay out the buttons and the result, which is cleared when another file or scorer is chosen."""
    gr.Markdown(ABOUT)
    with gr.Row(equal_height=True):
        button = gr.Button("Every second")
        stop_button = gr.Button("Stop the seconds")
    result = gr.HTML()
    desk = gr.State(SecondsDesk(), time_to_live=KEPT_SECONDS)

    def ask_seconds(desk: SecondsDesk, paths: Sequence[str] | None, name: str) -> Iterator[tuple[SecondsDesk, Any]]:
        if (job := desk.take()) is None:
            yield desk, gr.skip()
            return
        try:
            for shown in annotated(job, as_paths(paths), offered[name]):
                yield desk, shown
        except REFUSALS as error:
            yield desk, error_box(sentences_of(error))
        finally:
            if desk.job is job:
                desk.job = None

    begun = button.click(_begin, [desk, files, scorer], desk, api_visibility="private", queue=False)
    begun.then(ask_seconds, [desk, files, scorer], [desk, result], api_visibility="private", **MODEL)
    stop_button.click(_stop, desk, api_visibility="private", queue=False)
    gr.on([files.change, scorer.change], clear, [desk, files, scorer], result, api_visibility="private", queue=False)


def _begin(desk: SecondsDesk, paths: Sequence[str] | None, name: str) -> SecondsDesk:
    desk.begin(name, as_paths(paths))
    return desk


def _stop(desk: SecondsDesk) -> None:
    desk.stop()


def clear(desk: SecondsDesk, paths: Sequence[str] | None, name: str) -> Any:
    """Take away what is not about these files and this scorer."""
    if desk.job is not None and desk.job.about == (name, tuple(as_paths(paths))):
        return gr.skip()  # the button was pressed before this was told of the choice
    desk.stop(drop=True)
    return ""


def annotated(job: SecondsJob, paths: Sequence[Path], offered: OfferedScorer) -> Iterator[str]:
    """Ask about files one after the other; yields what there is to show, at last all of it.

    Raises:
        ConfigError: there is no file, or the scorer cannot be asked about seconds.
    """
    if not paths:
        raise ConfigError([NO_FILE])
    annotator, deadline = Annotator(offered.scorer, seconds_prompt(), decoding=LONG_ANSWER), offered.deadline()
    cards = ""
    for number, path in enumerate(paths):
        video = AnnotatedVideo(id=path.name, dimensions=annotator.dimensions)
        try:
            for bar in _read(job, annotator, path, video):
                yield cards + bar
                job.is_stopped = job.is_stopped or deadline.is_over
            notes = [*_notes(annotator, video), *([deadline.sentence] if deadline.is_over else [])]
            cards += seconds_card(video, notes=notes, name=f"levels{number}")
        except REFUSALS as error:
            cards += error_box(sentences_of(error))
        yield "" if job.is_dropped else cards


def _notes(annotator: Annotator, video: AnnotatedVideo) -> list[str]:
    notes = [NO_SOUND] if annotator.leaves_out_sound else []
    if not video.seconds or len(video.seconds) < video.seconds[-1].of:
        notes.append(f"Stopped: seconds that were asked about: {len(video.seconds)}.")
    return notes


def _read(job: SecondsJob, annotator: Annotator, path: Path, video: AnnotatedVideo) -> Iterator[str]:
    """Fill `video` second by second until its end, or until the job is stopped; yields how far that is."""
    began = time.monotonic()
    for second in annotator.annotate(path) if not job.is_stopped else ():
        video.seconds.append(second)
        done, of = len(video.seconds), second.of
        left_s = seconds_left(done, of, seconds=time.monotonic() - began)
        standing = Standing(place=f"{done} of {of} seconds asked about", share=done / of, left_s=left_s)
        yield progress_bar(standing, about="seconds asked about")
        if job.is_stopped:
            return


@cache
def seconds_prompt() -> Prompt:
    """Return what is asked of a second."""
    return prompt_and_others([])[0]
