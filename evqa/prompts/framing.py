"""What stands around a question of one's own: the places of its files, and what a model is used to read about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from evqa.errors import ConfigError
from evqa.prompts.templates import PLACE, filled, names_in, problems_of
from evqa.types import MEDIA, Clip

QUESTION = "question"
OF_FILES = (
    *("seconds", "num_frames", "num_motion_frames"),
    *("seconds_2", "num_frames_2", "num_motion_frames_2"),
    *("num_frames_both", "first_frame_2"),
)


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Templates with `{question}`, by the files that a question is about; null, or another mix: the files come first.

    video, image: of one file. videos, images: of two. Beside the question they may name `{seconds}`, `{num_frames}` and
    `{num_motion_frames}` of the first file, the same of the second (`{seconds_2}`, ...), `{num_frames_both}`, and
    `{first_frame_2}`, the number of the second file's first frame where those of both are counted through from 1.
    """

    video: str | None = None
    videos: str | None = None
    image: str | None = None
    images: str | None = None

    def __post_init__(self) -> None:
        problems = [text for kind, template in asdict(self).items() if template for text in _problems(kind, template)]
        if problems:
            raise ConfigError(problems)

    def around(self, question: str, clips: Sequence[Clip], *, num_files: int) -> str:
        """Write a question with the places of its files; clips: empty where they are not read yet."""
        template = self._template(clips)
        if template is None:
            return MEDIA * num_files + question
        return filled(template, {QUESTION: question, **_of_files(clips)})

    def _template(self, clips: Sequence[Clip]) -> str | None:
        kinds = ["video" if clip.image is None else "image" for clip in clips]
        if len(set(kinds)) != 1 or len(kinds) > 2:
            return None
        of_kind: dict[str, str | None] = asdict(self)
        return of_kind[kinds[0] if len(kinds) == 1 else f"{kinds[0]}s"]


def _problems(kind: str, template: str) -> Iterator[str]:
    key = f"prompt.framing.{kind}"
    if unreadable := list(problems_of(key, template, numbers=OF_FILES)):
        yield from unreadable
        return
    names = list(names_in(template))
    if names.count(QUESTION) != 1 or PLACE not in template:
        yield f"{key}: write {PLACE} where the files go, and {{question}} once."
    yield from (f"{key}: there is no {{{name}}}." for name in names if name not in (QUESTION, *OF_FILES))


def of_clip(clip: Clip) -> dict[str, object]:
    """Return what a template may say of one file."""
    num_frames = 0 if clip.frames_FHWC is None else len(clip.frames_FHWC)
    num_motion_frames = 0 if clip.motion is None else clip.motion.num_frames
    return {"seconds": clip.seconds or 0.0, "num_frames": num_frames, "num_motion_frames": num_motion_frames}


def _of_files(clips: Sequence[Clip]) -> dict[str, object]:
    first, second = (*map(of_clip, clips), *[of_clip(Clip())])[:2]
    counts = [int(str(one["num_frames"])) for one in (first, second)]
    together: dict[str, object] = {"num_frames_both": sum(counts), "first_frame_2": counts[0] + 1}
    return first | {f"{name}_2": value for name, value in second.items()} | together
