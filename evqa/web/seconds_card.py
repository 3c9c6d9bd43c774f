"""What a model says of every second of a video: a heat map of the levels, and a table with the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evqa.files.names import listed, shown
from evqa.reporting.heat_map import levels_svg
from evqa.scoring.annotation import AnnotatedVideo
from evqa.web.fragments import Markup, table, tag


def seconds_card(video: AnnotatedVideo, *, notes: Sequence[str], name: str) -> Markup:
    """Show what was found, and why some seconds were not asked about. notes: more of that. name: its own on a page."""
    sentences = [*notes, *_not_asked(video), *(f"Note: {note}" for note in video.missing)]
    parts = [tag("ul", *(tag("li", sentence) for sentence in sentences))] if sentences else []
    if len(video.not_asked) < len(video.seconds):
        caption = "What the model says of every second; a level runs from 0 (worst) to 1 (best)"
        rows = table(("second", "dimension", "level", "answer"), _rows(video), caption=caption)
        parts += [_picture(video, name), tag("details", tag("summary", "Levels and answers"), rows)]
    return tag("div", tag("h3", shown(video.id)), *parts, class_="evqa-seconds")


def _not_asked(video: AnnotatedVideo) -> Iterator[str]:
    for reason in dict.fromkeys(video.not_asked.values()):
        numbers = [str(number) for number, other in video.not_asked.items() if other == reason]
        yield f"Not asked about: second {listed(numbers)}: {reason}"


def _picture(video: AnnotatedVideo, name: str) -> Markup:
    svg = Markup(levels_svg(video.levels, title="", name=name))
    label = f"levels of {', '.join(video.dimensions)} along the seconds of {shown(video.id)}"
    return tag("div", svg, class_="evqa-plot", role="img", aria_label=label)


def _rows(video: AnnotatedVideo) -> Iterator[tuple[str, ...]]:
    for second in video.seconds:
        said = zip(video.dimensions, second.levels, second.answers, strict=False)
        for name, level, answer in said:
            yield f"{second.number} s", name, f"{level:.2f}", answer
