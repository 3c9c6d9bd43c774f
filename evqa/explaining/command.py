"""`python -m evqa.explain VIDEO --scorer PLACE --out FOLDER`: what is written, and what is printed."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evqa.errors import ConfigError
from evqa.explaining.draw import draw_explanation
from evqa.explaining.explain import Explaining
from evqa.explaining.explanation import CAUTION, Explanation
from evqa.files.names import from_system, is_text, shown
from evqa.files.plain import write_json
from evqa.files.progress import BEGINS_ANEW, counted
from evqa.files.regular import why_unreadable
from evqa.files.streams import say
from evqa.files.whole import check_place
from evqa.scoring.load import load
from evqa.types import Record


@dataclass(frozen=True, kw_only=True)
class ExplanationRequest:
    """The flags of `evqa explain`. out: folder for NAME.json and NAME.png, NAME being the video's."""

    video: Path
    scorer: str
    out: Path
    seconds: int
    title: str | None = None
    description: str | None = None
    modal: str | None = None
    ckpt: str = "best"
    override: tuple[str, ...] | list[str] = ()


def explain_video(request: ExplanationRequest) -> None:
    """Explain a video's score, write both files, print the numbers.

    Raises:
        ConfigError, FileError, MediaError: what cannot be used; before anything is loaded where that can be told.
    """
    given = {"title": request.title, "description": request.description}
    texts = {name: from_system(text) for name, text in given.items() if text}
    if reason := why_unreadable(request.video):
        raise ConfigError([f"{request.video}: {reason}."])
    if request.seconds < 1:
        raise ConfigError([f"--seconds {request.seconds}: give a whole number of seconds from 1 on."])
    if not all(map(is_text, texts.values())):
        raise ConfigError(["--title, --description: the text is not UTF-8."])
    picture, content = (request.out / f"{request.video.stem}{suffix}" for suffix in (".png", ".json"))
    for path in (picture, content):
        check_place(path)
    scorer = load(request.scorer, checkpoint=request.ckpt, overrides=request.override, modal=request.modal)
    record = Record(id=str(request.video), paths=(request.video,), texts=texts)
    explaining = Explaining(scorer, record, seconds=request.seconds)
    copies = explaining.num_copies
    with counted("scoring altered copies", copies, stderr=True, then=BEGINS_ANEW) as counting:
        for _ in counting.watch(explaining.score()):
            pass
    explanation = explaining.explanation()
    draw_explanation(explanation, picture)
    write_json(content, explanation.to_json())
    lines = _lines(explanation) if sys.stdout.isatty() else _cells(explanation)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    for note in (*explanation.notes, f"written: {content}, {picture}"):
        say(f"Note: {note}", sys.stderr)


def _cells(explanation: Explanation) -> Iterator[str]:
    """`what<TAB>score<TAB>change`, the whole video first."""
    yield f"whole\t{explanation.score:.6g}\t"
    for what, score, change in explanation.rows():
        yield f"{what}\t{score:.6g}\t{change:+.6g}"


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"{shown(explanation.id)}: {shown(explanation.scale.name)} {explanation.score:.4g} ({explanation.modal})"
    yield f"  {'':<20} {'score':>9} {'change':>9}"
    for what, score, change in explanation.rows():
        yield f"  {what:<20} {score:>9.4f} {change:>+9.4f}"
    yield from textwrap.wrap(CAUTION, width=78)
