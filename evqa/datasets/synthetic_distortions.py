"""Questions and answers about distortions that the project makes itself: what VQA2's first stage is taught.

Its own clips are not published (Jia et al., 2024, arXiv 2411.03795); the questions of `spatial` and `motion` are those
that the paper shows. Here a clean clip, drawn or from a folder, gets one distortion of a known grade
(`evqa.datasets.distortions`), and is asked about:

    spatial  a still image of it: "What is the main spatial distortion presented in this image?"
    motion   the clip: "What is the main motion distortion presented in this video?"
    yes_no   the clip, twice: "Is spatial blur present in this video?" Yes. "Is noise present in this video?" No.

Every distortion and grade is equally often there, and asked about with either answer, so that a question alone says
nothing about its answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from evqa.datasets.base import Annotations
from evqa.datasets.distortions import GRADES, MOTION, SPATIAL, Pictures, crf_of, distort
from evqa.datasets.impairments import FPS, ImpairedScene, draw_content
from evqa.datasets.made import MadeClips, write_clips
from evqa.datasets.table import Table
from evqa.errors import AnnotationError, MediaError
from evqa.files.whole import write_table
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.encode import write_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.media.suffixes import VIDEO

Kind = Literal["spatial", "motion", "yes_no"]
ALL = (*SPATIAL, *MOTION)
COLUMNS = ("id", "file", "turns", "clip", "distortion", "grade", "asked")
CLEAN_FPS, CLEAN_SECONDS, CLEAN_SIDE = 24, 8, 384
_CLEAN = ClipSpec(
    frames=FrameStream(
        sampling=FrameSampling(policy="fps", fps=CLEAN_FPS, count=CLEAN_FPS * CLEAN_SECONDS),
        resize=Resize(mode="budget", multiple=8, min_pixels=64, max_pixels=CLEAN_SIDE**2),
    )
)


@dataclass(frozen=True, kw_only=True)
class DistortedClip:
    """One clip to be made. clean: the file that it is made of; None: content that `seed` draws. absent: asked about."""

    id: str
    distortion: str
    absent: str
    grade: int
    clean: Path | None
    seed: tuple[int, ...]

    @property
    def has_image(self) -> bool:
        """Whether a still image shows the distortion."""
        return self.distortion in SPATIAL


@dataclass(frozen=True, kw_only=True)
class SyntheticDistortions(MadeClips):
    """Conversations about distorted clips.

    questions: which are asked. distortions: which are made; null: all. clean: folder with clean clips of one's own, of
    which the first 8 seconds are read at 24 frames a second and at most 384 x 384 pixels; a clip that is trained on is
    never validated on. null: drawn ones.
    """

    version: ClassVar[int] = 1
    made_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    folder: str = "cache/synthetic_distortions"
    questions: tuple[Kind, ...] = get_args(Kind)
    distortions: tuple[str, ...] | None = None
    clean: str | None = None

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the distortions."""
        return ALL if self.distortions is None else tuple(self.distortions)

    def home(self) -> Path:
        """The folder of exactly these clips."""
        if self.clean is None and self.distortions is None:
            return super().home()
        of = json.dumps([self.clean and str(Path(self.clean).absolute()), self.made])
        return super().home().with_name(f"{super().home().name}-{hashlib.sha256(of.encode()).hexdigest()[:8]}")

    def problems(self) -> Iterable[str]:
        """Every question has something to ask about."""
        yield from super().problems()
        if unknown := [name for name in self.made if name not in ALL]:
            yield f"data.distortions: there is no {unknown[0]!r}. Give null for all, or some of: {', '.join(ALL)}."
        if unknown := [kind for kind in self.questions if kind not in get_args(Kind)]:
            yield f"data.questions: there is no {unknown[0]!r}. Give some of: {', '.join(get_args(Kind))}."
        if not self.questions:
            yield "data.questions: give one at least."
        for kind, names in (("spatial", SPATIAL), ("motion", MOTION)):
            if kind in self.questions and not set(names) & set(self.made):
                yield f"data.questions: {kind} needs one of these in data.distortions: {', '.join(names)}."
        if len(set(self.made)) < max(2, len(self.made)):
            yield f"data.distortions={list(self.made)}: give each once, two at least."

    def read_made(self, folder: Path) -> Annotations:
        """Read the questions that are asked."""
        paths = {split: [str(folder / f"{split}-{kind}.csv") for kind in self.questions] for split in ("train", "val")}
        table = Table(
            path=paths["train"],
            val_path=paths["val"],
            root=str(folder / "media"),
            label=self.label,
            path_column="file",
            turns_column="turns",
            group_column="clip",
            tag_columns=["distortion", "grade", "asked"],
        )
        return table.asking(self.asked).read()

    def write(self, folder: Path) -> None:
        """Draw distortions and grades, and make clips, images and tables of them."""
        (folder / "media").mkdir()
        numbers, clean = self.numbers(), self._clean()
        clips = {split: self._draw(numbers[split], clean[split]) for split in numbers}
        write_clips(write_distorted, [clip for of in clips.values() for clip in of], folder=folder / "media")
        for split, of in clips.items():
            for kind in get_args(Kind):
                rows = [row for clip in of for row in questions_about(clip, kind)]
                write_table(folder / f"{split}-{kind}.csv", list(COLUMNS), rows)

    def _clean(self) -> dict[str, Sequence[Path | None]]:
        """The clean clips of each split; every fifth is validated on."""
        if self.clean is None:
            return {"train": [None], "val": [None]}
        try:
            files = sorted(file for file in Path(self.clean).iterdir() if file.suffix.lower() in VIDEO)
        except OSError as error:
            raise AnnotationError(f"data.clean={self.clean}: cannot be read ({error.strerror}).") from error
        if len(files) < 2:
            rule = "give at least two, one to train on and one to validate on"
            raise AnnotationError(f"data.clean={self.clean}: holds {len(files)} videos; {rule}.")
        order = np.random.default_rng(self.seed).permutation(len(files)).tolist()
        held = set(order[: max(1, len(files) // 5)])
        return {
            "train": [file for number, file in enumerate(files) if number not in held],
            "val": [file for number, file in enumerate(files) if number in held],
        }

    def _draw(self, numbers: range, clean: Sequence[Path | None]) -> list[DistortedClip]:
        draw = np.random.default_rng((self.seed, numbers.start))
        # Each distortion with each grade, each with another distortion to be asked about, all (nearly) equally often.
        pairs = [(name, grade) for grade in GRADES for name in range(len(self.made))]
        present = [pairs[number % len(pairs)] for number in range(len(numbers))]
        steps = draw.integers(1, len(self.made), -(-len(numbers) // len(self.made))).tolist()
        order = draw.permutation(len(numbers)).tolist()
        return [
            DistortedClip(
                id=f"clip_{number:05d}",
                distortion=self.made[present[place][0]],
                absent=self.made[(present[place][0] + steps[place // len(self.made)]) % len(self.made)],
                grade=present[place][1],
                clean=clean[number % len(clean)],
                seed=(self.seed, number),
            )
            for number, place in zip(numbers, order, strict=True)
        ]


def write_distorted(clip: DistortedClip, *, folder: Path) -> None:
    """Write `<id>.mp4`; where a still shows the distortion also `<id>.png`, the frame in its middle as decoded."""
    from PIL import Image

    frames_FHWC, fps = _clean_frames(clip)
    draw = np.random.default_rng([*clip.seed, 1])
    distorted_FHWC = distort(frames_FHWC, clip.distortion, grade=clip.grade, draw=draw)
    file = folder / f"{clip.id}.mp4"
    write_clip(file, frames_FHWC=distorted_FHWC, fps=fps, crf=crf_of(clip.distortion, grade=clip.grade))
    if clip.has_image:
        middle = FrameStream(sampling=FrameSampling(policy="uniform", count=1), resize=Resize(mode="native"))
        shown = read_clip(file, ClipSpec(frames=middle)).frames_FHWC
        assert shown is not None
        Image.fromarray(shown[0].numpy()).save(folder / f"{clip.id}.png")


def _clean_frames(clip: DistortedClip) -> tuple[Pictures, int]:
    """The content of a clip, and its frames a second."""
    if clip.clean is None:
        drawn = draw_content(ImpairedScene(id=clip.id, grades={}, seed=clip.seed))
        return drawn.round().clip(0, 255).astype(np.uint8), FPS
    try:
        read = read_clip(clip.clean, _CLEAN)
    except MediaError as error:
        raise MediaError(clip.clean, f"its clean clip {clip.clean.name} {error.reason}") from error
    assert read.frames_FHWC is not None
    num_frames = int(min(CLEAN_SECONDS, read.seconds or 0) * CLEAN_FPS)
    if num_frames < CLEAN_FPS:
        raise MediaError(clip.clean, f"its clean clip {clip.clean.name} is shorter than a second")
    return cast("Pictures", read.frames_FHWC[:num_frames].numpy()), CLEAN_FPS


def questions_about(clip: DistortedClip, kind: Kind) -> list[list[str]]:
    """Write the rows of a table of COLUMNS; none where this kind of question does not fit the clip."""
    if kind == "yes_no":
        return [_yes_no(clip, asked) for asked in (clip.distortion, clip.absent)]
    if clip.has_image != (kind == "spatial"):
        return []
    shown, suffix = ("image", "png") if clip.has_image else ("video", "mp4")
    question = f"What is the main {kind} distortion presented in this {shown}?"
    return [_row(clip, kind, file=f"{clip.id}.{suffix}", question=question, answer=f"It is {clip.distortion}.")]


def _yes_no(clip: DistortedClip, asked: str) -> list[str]:
    answer = "Yes." if asked == clip.distortion else "No."
    question = f"Is {asked} present in this video?"
    return _row(clip, answer[:-1].lower(), file=f"{clip.id}.mp4", question=question, answer=answer, asked=asked)


def _row(clip: DistortedClip, kind: str, *, file: str, question: str, answer: str, asked: str = "") -> list[str]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [f"{clip.id}-{kind}", file, json.dumps(turns), clip.id, clip.distortion, str(clip.grade), asked]
