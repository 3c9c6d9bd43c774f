"""VQA²'s reference numbers (their README: ../shared/golden/vqa2), and a checkpoint folder made of their weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from evqa.media.image import Tiling
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.qwen2_tokenizer import embedded_tokenizer
from evqa.models.splice import PLACEHOLDER
from evqa.models.vqa2.model import EVERY_FRAME, Vqa2
from evqa.prompts.chat import IGNORED, Encoded
from evqa.types import MEDIA, Clip, ImageGrid, Inputs, Turn
from tests.golden import find
from tests.models.samples import Frames

ACTIVATION, LOGIT, SCORE = 1e-4, 2e-4, 1e-5  # tolerances as stated in the README of the reference numbers
THEIR_PLACEHOLDER = -200


def golden() -> Path:
    found = find("vqa2")
    assert found is not None
    return found


def read_json(name: str) -> Any:
    return json.loads((golden() / name).read_text(encoding="utf-8"))


def cases(*, kind: str) -> list[str]:
    """Names of the cases of one kind: `video` and `image` are scored, `train` is learned, `answer` is continued."""
    if find("vqa2") is None:
        return []
    found = read_json("cases.json")
    of_kind = {
        "video": lambda case: "level_logits" in case and "num_motion_frames" in case,
        "image": lambda case: "score_intended" in case,
        "train": lambda case: "real_qwen2_labels" in case,
        "answer": lambda case: "greedy_new_ids" in case,
    }
    return [name for name, case in found.items() if of_kind[kind](case)]


@dataclass
class GivenChat:
    """Writes the reference's own ids, whatever is asked."""

    encoded: Encoded
    pad: int

    def encode(self, turns: Sequence[Turn], media: Sequence[Sequence[int]]) -> Encoded:
        return self.encoded


@dataclass(frozen=True)
class Case:
    """One case: what the model was given, and all that it gave. facts: its entry of cases.json."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    encoded: Encoded
    clips: tuple[Clip, ...]

    @classmethod
    def read(cls, name: str) -> Case:
        facts, tensors = read_json("cases.json")[name], load_file(golden() / f"case_{name}.safetensors")
        return cls(facts, tensors, _encoded(facts, tensors), tuple(_clips(facts)))

    @property
    def clip(self) -> Clip:
        (clip,) = self.clips
        return clip

    def without_motion(self) -> Case:
        return replace(self, clips=tuple(replace(clip, motion=None) for clip in self.clips))

    @property
    def num_places(self) -> int:
        return self.encoded.ids.count(PLACEHOLDER)

    def inputs(self, model: Vqa2) -> Inputs:
        return batch(model, [self])


def batch(model: Vqa2, given: Sequence[Case]) -> Inputs:
    """Collate cases as the model's preparer does, with the reference's ids for words."""
    preparer, items = model.preparer, []
    for case in given:
        preparer.chat = GivenChat(case.encoded, pad=0)
        turns = [Turn(role="user", text=MEDIA * case.num_places)]
        items.append(preparer.prepare(turns, case.clips))
    return preparer.collate(items)


def _encoded(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Encoded:
    theirs = tensors["input_ids"][0].tolist()
    labels = tensors["labels"][0].tolist() if "labels" in tensors else [IGNORED] * len(theirs)
    ids = tuple(PLACEHOLDER if token == THEIR_PLACEHOLDER else token for token in theirs)
    return Encoded(
        ids=ids,
        targets=(*labels[1:], IGNORED),
        answer=len(ids) + facts.get("logit_position", -1),
    )


def _clips(facts: dict[str, Any]) -> Iterator[Clip]:
    """Read the files of a case, an image or videos; those of several stand in lists."""
    pixels = np.load(golden() / "pixels_u8.npz")
    if "tiles_key" in facts:
        width, height = facts["image_size_wh"]
        tiles = _to_THWC(pixels[facts["tiles_key"]])
        rows, columns = Tiling(size=tiles.shape[1]).best(height, width)
        yield Clip(frames_FHWC=tiles, image=ImageGrid(rows=rows, columns=columns, height=height, width=width))
        return
    names, keys, counts = (facts[key] for key in ("video", "key_frame_indices", "num_motion_frames"))
    if isinstance(names, str):
        names, keys, counts = [names], [keys], [counts]
    for name, key_frames, count in zip(names, keys, counts, strict=True):
        stored = pixels[f"{name}_indices"].tolist() if f"{name}_indices" in pixels else range(len(pixels[name]))
        place = {number: index for index, number in enumerate(stored)}
        motion = facts.get("motion_frame_indices") or range(count)
        taken = [_to_THWC(pixels[name][[place[n] for n in numbers]]) for numbers in (key_frames, motion)]
        yield Clip(frames_FHWC=taken[0], motion=Frames(taken[1]))


def _to_THWC(pixels_TCHW: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels_TCHW).permute(0, 2, 3, 1).contiguous()


def write_checkpoint(folder: Path) -> Path:
    """Lay the small weights out as a published checkpoint folder; its tokenizer is the embedded one."""
    folder.mkdir(parents=True, exist_ok=True)
    config = read_json("config.json") | {"vision_config": read_json("tiny.json")["vision"]}
    config["vision_config"].pop("note", None)
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(golden() / "weights.safetensors", folder / "model.safetensors")
    embedded_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def build(folder: Path, *, motion: FrameSampling | None = EVERY_FRAME, **more: Any) -> Vqa2:
    """The small model in float32 and evaluation mode."""
    options = BuildOptions(frames=FrameSampling(policy="each_second", exact=True), audio=None, logits=True)
    chosen = {"dtype": "float32", "exact": True} | more
    return Vqa2(options, checkpoint=str(folder), motion=motion, **chosen).eval()


def build_random(**more: Any) -> Vqa2:
    """A model of the tiny size with random weights, in float32 and evaluation mode."""
    options = BuildOptions(frames=FrameSampling(policy="each_second"), audio=None, logits=True)
    chosen = {"dtype": "float32"} | more
    return Vqa2(options, size="tiny", **chosen).eval()


def write_random(folder: Path) -> Path:
    """Lay random weights out likewise, so large that an answer hangs on all that was said and shown."""
    model = build_random(init_seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model.layers" in name and parameter.ndim == 2:
                parameter.mul_(10)
    model.export(folder, head_state={})
    return folder
