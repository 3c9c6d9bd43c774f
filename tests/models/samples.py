"""Random clips, and the questions that the tests of the pretrained models ask of every one of them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.types import Clip
from tests.asking import Answer, a_record, prepare


@dataclass
class Frames:
    """A motion stream that lies in memory."""

    frames_THWC: Tensor

    @property
    def num_frames(self) -> int:
        return len(self.frames_THWC)

    @property
    def seconds_N(self) -> Tensor:
        return torch.arange(self.num_frames, dtype=torch.float64)

    @property
    def height(self) -> int:
        return self.frames_THWC.shape[1]

    @property
    def width(self) -> int:
        return self.frames_THWC.shape[2]

    def chunks(self, size: int, *, overlap: int = 0) -> Iterator[Tensor]:
        for start in range(0, max(self.num_frames - overlap, 1), size - overlap):
            yield self.frames_THWC[start : start + size]

    def close(self) -> None:
        pass


RECORD = a_record(name="a", path="a.mp4", title="My dog", description="rolls over #dog")
ANSWER = Answer(prefix="The engagement of the video is", target=" good")


def setting(modal: str, *, logits: bool = False) -> BuildOptions:
    return BuildOptions(
        frames=FrameSampling() if "v" in modal else None,
        audio=AudioWindow() if "a" in modal else None,
        logits=logits,
    )


def clip(modal: str, *, num_frames: int = 5, width: int = 84, seconds: float = 1.0, seed: int = 0) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (num_frames, 56, width, 3), dtype=torch.uint8, generator=generator)
    waveform = torch.randn(int(seconds * 16_000) + 77, generator=generator) * 0.1
    return Clip(
        frames_FHWC=frames if "v" in modal else None,
        seconds_F=torch.arange(num_frames).double() * 1.3 if "v" in modal else None,
        waveform_S=waveform if "a" in modal else None,
    )


def prepared(model, clip: Clip, *, answer: Answer = ANSWER, title: str = "My dog"):
    record = a_record(name="a", path="a.mp4", title=title, description="rolls over #dog")
    return prepare(model.preparer, record, clip, answer)


@torch.no_grad()
def largest_difference_to_alone(model, items) -> float:
    """Compare every sample's hidden states in the batch with those it has alone."""
    together = model(model.preparer.collate(items))
    differences = []
    for row, item in enumerate(items):
        alone = model(model.preparer.collate([item]))
        here = together.hidden_BTD[row][together.mask_BT[row]]
        differences.append((here - alone.hidden_BTD[0]).abs().max().item())
        assert together.answer_B[row] == alone.answer_B[0]
    return max(differences)


def trained_without_gradient(model, items) -> list[str]:
    """Run one backward pass in training mode; names of parameters of the parts that got no gradient."""
    model.train()
    output = model(model.preparer.collate(items))
    loss = output.hidden_BTD.float().pow(2).sum()
    if model.lm_head is not None:
        loss = loss + output.logits(output.hidden_BTD[:, -1]).pow(2).sum()
    loss.backward()
    prefixes = tuple(f"{prefix}" for part in model.parts() for prefix in part.prefixes)
    return [
        name
        for name, parameter in model.named_parameters()
        if name.startswith(prefixes) and (parameter.grad is None or not parameter.grad.isfinite().all())
    ]


def naive_patches(frames_FHWC, *, size: int, mean, std):
    """Patches in Qwen's order by plain loops, normalised as (x / 255 - mean) / std; frames come in pairs."""
    pixels = (frames_FHWC.double() / 255 - torch.tensor(mean)) / torch.tensor(std)
    pixels = torch.cat([pixels, pixels[-1:]])[: len(pixels) + len(pixels) % 2].permute(0, 3, 1, 2)
    rows = []
    for time in range(0, len(pixels), 2):
        for top in range(0, pixels.shape[2], 2 * size):
            for left in range(0, pixels.shape[3], 2 * size):
                for y, x in ((0, 0), (0, size), (size, 0), (size, size)):
                    corner_y, corner_x = top + y, left + x
                    block = pixels[time : time + 2, :, corner_y : corner_y + size, corner_x : corner_x + size]
                    rows.append(block.transpose(0, 1).reshape(-1))
    return torch.stack(rows).float()


def naive_positions(ids_T, video: int, grids, *, per_step: float):
    """Positions (time, height, width) of every token by plain loops: text starts at the largest one so far plus 1."""
    positions, following, grids = [], 0, iter(grids)
    ids = ids_T.tolist()
    while len(positions) < len(ids):
        if ids[len(positions)] != video:
            positions.append([following] * 3)
            following += 1
            continue
        time, height, width = next(grids)
        places = itertools.product(range(time), range(height), range(width))
        positions += [[following + int(t * per_step), following + y, following + x] for t, y, x in places]
        following = max(max(axes) for axes in positions) + 1
    return torch.tensor(positions)
