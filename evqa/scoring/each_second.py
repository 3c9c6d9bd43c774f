"""`python -m evqa.ask FILE... --each-second`: questions about every second of videos, and what is shown of them."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from evqa.config.compose import compose
from evqa.errors import ConfigError, MediaError
from evqa.files.names import listed, shown
from evqa.files.progress import counted
from evqa.files.streams import say
from evqa.files.whole import check_place
from evqa.media.suffixes import VIDEO
from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.reporting.heat_map import draw_levels, levels_as_text
from evqa.scoring.annotation import AnnotatedSecond, AnnotatedVideo, Annotator
from evqa.scoring.load import load
from evqa.scoring.sources import SourceEntry, file_sources
from evqa.training.plan import build

PROMPT = "prompt=vqa2_assistant_seconds"


@dataclass(frozen=True, kw_only=True)
class SecondsRequest:
    """What the flags of `evqa.ask --each-second` say. pictures: a folder for a heat map of every file."""

    files: list[Path]
    scorer: str
    decoding: Decoding
    pictures: Path | None = None
    json: bool = False
    ckpt: str = "best"
    override: tuple[str, ...] | list[str] = ()


def annotate_files(request: SecondsRequest) -> None:
    """Ask about every second of all files, one file after the other, and print.

    Raises:
        ConfigError, FileError, AnnotationError: what cannot be used, before anything is loaded. Files that cannot be
            asked about are told at the end, after all others.
    """
    if not request.files:
        raise ConfigError(["name a video, or a folder of videos, to ask about."])
    sources = file_sources(request.files, suffixes=VIDEO, title=None, description=None)
    for note in chain.from_iterable(source.notes for source in sources):
        say(f"Note: {note}", sys.stderr)
    entries = list(chain.from_iterable(sources))
    pictures = list(_picture_files(request.pictures, entries))
    prompt, others = prompt_and_others(request.override)
    scorer = load(request.scorer, checkpoint=request.ckpt, overrides=others)
    annotation = Annotation(Annotator(scorer, prompt, decoding=request.decoding), as_json=request.json)
    failed = [
        f"{entry.id}: {reason}"
        for entry, picture in zip(entries, pictures, strict=True)
        if (reason := annotation.of_file(entry, picture))
    ]
    if failed:
        raise ConfigError([f"{len(failed)} of {len(entries)} could not be asked about:", *failed])


def _picture_files(folder: Path | None, entries: Sequence[SourceEntry]) -> Iterator[Path | None]:
    """Name a picture after each file, with a number where two files have one name. Raises FileError."""
    taken = set[str]()
    for entry in entries:
        if folder is None:
            yield None
            continue
        stem = Path(str(entry.path)).stem
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        check_place(folder / f"{name}.png")
        yield folder / f"{name}.png"


def prompt_and_others(overrides: Sequence[str]) -> tuple[Prompt, list[str]]:
    """Take what says what is asked of a second; the scorer, which may be a run, keeps its own prompt."""
    own = [line for line in overrides if line.lstrip("+~").startswith(("prompt=", "prompt."))]
    chosen = any(line.startswith("prompt=") for line in own)
    config = compose(own if chosen else [PROMPT, *own])
    return build(config.prompt), [line for line in overrides if line not in own]


class Annotation:
    """One command at work: in a terminal a table a file, in a pipe a line an answer, or an object a file."""

    def __init__(self, annotator: Annotator, *, as_json: bool) -> None:
        self._annotator, self._as_json = annotator, as_json
        self._is_table = not as_json and sys.stdout.isatty()
        if annotator.leaves_out_sound:
            say("Note: the sound is not read; every second is asked about by its frames.", sys.stderr)

    def of_file(self, entry: SourceEntry, picture: Path | None) -> str:
        """Ask about a file; returns why it could not be asked about, else an empty text."""
        video = AnnotatedVideo(id=entry.id, dimensions=self._annotator.dimensions)
        reason = entry.fault or self._read(Path(str(entry.path)), video)
        if not reason and len(video.not_asked) == len(video.seconds):
            reason = f"none of its seconds ({len(video.seconds)}) could be asked about: {video.not_asked[0]}"
        if picture is not None and not reason:
            draw_levels(video.levels, picture, title=shown(video.id))
        if self._as_json:
            content = {"id": video.id, "error": reason} if reason else video.to_json()
            say(json.dumps(content | ({"picture": str(picture)} if picture and not reason else {})), sys.stdout)
        elif not reason:
            for note in (*video.missing, *([f"picture: {picture}"] if picture else [])):
                say(f"{video.id}: {note}", sys.stderr)
        return reason

    def _read(self, path: Path, video: AnnotatedVideo) -> str:
        """Ask about a file's seconds; one that breaks off, also by Ctrl-C, shows those that have been asked about."""
        try:
            with counted(video.id, None, stderr=True, wanted=sys.stderr.isatty()) as counting:
                for second in self._annotator.annotate(path):
                    video.seconds.append(second)
                    counting.total = second.of
                    counting.move(len(video.seconds))
                    self._print_lines(second, video)
        except MediaError as error:
            return error.reason
        finally:
            if self._is_table and video.seconds:
                say(_table(video, width=shutil.get_terminal_size().columns), sys.stdout)
        return ""

    def _print_lines(self, second: AnnotatedSecond, video: AnnotatedVideo) -> None:
        """Write `id<TAB>second<TAB>dimension<TAB>level<TAB>answer`; a second that was not asked about says why."""
        if self._as_json or self._is_table:
            return
        said = list(zip(video.dimensions, map(repr, second.levels), second.answers, strict=False))
        for cells in said or [("", "", f"not asked: {second.reason}")]:
            sys.stdout.write("\t".join(map(shown, (video.id, second.number, *cells))) + "\n")
        sys.stdout.flush()


def _table(video: AnnotatedVideo, *, width: int) -> str:
    """Write levels by second, then the lowest of each dimension with its answer."""
    lines = [f"{video.id}: levels of every second, 0 worst, 1 best", levels_as_text(video.levels, width=width), ""]
    margin = max(map(len, video.dimensions))
    for name, levels in video.levels.items():
        found = [(level, number) for number, level in enumerate(levels) if level is not None]
        if found:
            level, number = min(found)
            answer = " ".join(str(video.answers[name][number]).split())
            lines.append(_cut(f"{name:<{margin}}  lowest {level:.2f} at {number} s: {answer}", width))
    for reason in dict.fromkeys(video.not_asked.values()):
        numbers = [str(number) for number, other in video.not_asked.items() if other == reason]
        lines += textwrap.wrap(f"not asked about: second {listed(numbers)}: {reason}", width, subsequent_indent="  ")
    return "\n".join([*lines, "All answers: in a pipe, or with --json.", ""])


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
