"""Where text and video tokens stand: the rule of the released weights, whatever transformers does."""

import pytest
import torch

from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.positions import rotary_positions
from evqa.models.qwen2_5_omni import Qwen2_5Omni
from evqa.models.qwen2_5_vl import Qwen2_5_VL
from evqa.models.qwen3_vl import Qwen3VL
from evqa.types import Clip
from tests.models import samples

V = -1  # the video token


@pytest.mark.parametrize(
    ("grids", "seconds", "per_second", "text_starts_at"),
    [
        ([(4, 14, 8)], 15.0, 2, 2 + 90 + 1),  # uniform8 on 60 s: the last step at 90
        ([(4, 14, 8)], 2.0, 2, 2 + 13 + 1),  # first8: rows reach further than seconds
        ([(4, 3, 30)], 2.0, 2, 2 + 29 + 1),
        ([(2, 1, 1)], 0.99, 2, 2 + 1 + 1),  # 1.98: rounded down after the multiplication
        ([(3, 1, 1)], 0.75, 2, 2 + 3 + 1),
        ([(4, 2, 2)], 14.5, 25, 2 + 1087 + 1),  # Omni: 25 positions a second
        ([(1, 5, 3), (1, 5, 3)], 0.0, 0, 2 + 5 + 5),  # Qwen3-VL: pictures of their own
    ],
)
def test_text_behind_a_video_starts_after_its_largest_position(grids, seconds, per_second, text_starts_at):
    ids = [7, 7] + [V] * sum(t * h * w for t, h, w in grids) + [7, 7, 7]
    positions = rotary_positions(
        torch.tensor(ids), video=V, grids=grids, seconds_per_step=[seconds] * len(grids), times_per_second=per_second
    )
    assert positions.shape == (len(ids), 3)
    assert positions[:3].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    assert positions[-3:].tolist() == [[text_starts_at + i] * 3 for i in range(3)]
    assert torch.equal(positions, samples.naive_positions(torch.tensor(ids), V, grids, per_step=seconds * per_second))


def test_text_alone_counts_by_one():
    assert rotary_positions(torch.tensor([7, 7]), video=V, grids=[], seconds_per_step=[]).tolist() == [[0] * 3, [1] * 3]


@pytest.mark.parametrize("sampling", [{"policy": "uniform"}, {}])
@pytest.mark.parametrize(
    ("name", "kind", "token", "per_second"),
    [
        ("qwen2_5_vl", Qwen2_5_VL, "<|video_pad|>", 4),  # the toy's own, by its configuration
        ("qwen2_5_omni", Qwen2_5Omni, "<|VIDEO|>", 25),
        ("qwen3_vl", Qwen3VL, "<|video_pad|>", 0),
    ],
)
def test_every_model_numbers_a_long_clip_by_that_rule(twin, name, kind, token, per_second, sampling):
    frames = FrameSampling(**sampling)
    model = kind(BuildOptions(frames=frames, audio=None), **twin(name)).eval()
    seconds = torch.tensor([(i + 0.5) * 60 / 8 if sampling else float(i) for i in range(8)])
    clip = Clip(frames_FHWC=torch.zeros(8, 84, 56, 3, dtype=torch.uint8), seconds_F=seconds.double())
    item = samples.prepared(model, clip)
    ids, video = item["ids_T"], model.chat.token(token)
    grids = [(1, 3, 2)] * 4 if name == "qwen3_vl" else [(4, 3, 2)]
    step = 2 * float(seconds[1] - seconds[0])
    assert torch.equal(item["position_T3"], samples.naive_positions(ids, video, grids, per_step=step * per_second))
    last = int((ids == video).nonzero().max())
    text, seen = item["position_T3"][last + 1 :], item["position_T3"][: last + 1]
    assert int(text.min()) == int(seen.max()) + 1
    batch = model.preparer.collate([item, samples.prepared(model, Clip())])
    assert torch.equal(batch["position_3BT"][:, 0], item["position_T3"].T)
    assert batch["position_3BT"].shape == (3, *batch["text_BT"].shape)
