"""The motion branch: VQA²'s numbers, the same in chunks of any size, and what it learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from evqa.benchmarking.motion import HeldFrames
from evqa.benchmarking.slowfast import SlowFast
from evqa.errors import PromptError
from evqa.models.pixels import normalise
from evqa.models.vqa2.motion import MotionBranch, MotionDims
from tests.models.vqa2.reference import ACTIVATION

SMALL = MotionDims(stem=2, inner=(2, 3, 4, 5), outer=(8, 12, 16, 20), depths=(3, 4, 6, 3), num_positions=100)
EXTRACTOR = "model.slowfast."
FAST = ".multipathway_blocks.1."


def frames(num_frames: int, *, size: int = 33, seed: int = 0) -> HeldFrames:
    generator = torch.Generator().manual_seed(seed)
    return HeldFrames(torch.randint(0, 256, (num_frames, size, size, 3), dtype=torch.uint8, generator=generator))


def fast_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The fast pathway's weights and the positions, from published names to ours."""
    ours = {key.removeprefix(EXTRACTOR): value for key, value in weights.items() if key.startswith(EXTRACTOR)}
    return {
        key.replace("feature_extraction.", "pathway.blocks.").replace(FAST, "."): value
        for key, value in ours.items()
        if f"{FAST}" in key or key.startswith("position")
    }


@pytest.fixture(scope="module")
def original() -> SlowFast:
    """Both pathways with random weights and statistics, in float64."""
    torch.manual_seed(0)
    model = SlowFast(SMALL).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    return model


@pytest.fixture
def branch(original: SlowFast) -> MotionBranch:
    """The same fast pathway, ours, without positions, as it is while training."""
    weights = fast_weights({f"{EXTRACTOR}{name}": value.clone() for name, value in original.state_dict().items()})
    dims = MotionDims.of({name: value.shape for name, value in weights.items()})
    branch = MotionBranch(dims).double()
    branch.load_state_dict(weights)
    return branch.train()


def theirs(original: SlowFast, held: HeldFrames) -> torch.Tensor:
    return original(normalise(held.frames_NHWC).double())


def test_sizes_are_read_off_the_weights():
    branch = MotionBranch(SMALL)
    assert MotionDims.of({name: value.shape for name, value in branch.state_dict().items()}) == SMALL


def test_the_fast_pathway_alone_is_the_original_whole_or_in_chunks(original, branch):
    with torch.no_grad():
        for num_frames in (4, 5, 18, 19, 20, 36, 37, 38, 64, 100):
            held = frames(num_frames)
            expected = theirs(original, held)
            whole = branch.pathway(normalise(held.frames_NHWC))
            assert torch.allclose(whole, expected, rtol=0, atol=1e-12)
            for chunk in (1, 3, 8, 19, 64) if num_frames < 64 else (7, 19, 37, 64, 99):
                found = branch(held, chunk=chunk)
                assert torch.allclose(found, expected, rtol=0, atol=1e-12), (num_frames, chunk)


def test_clips_of_one_to_three_frames_have_features(branch):
    for num_frames in (1, 2, 3):
        held = frames(num_frames)
        assert torch.allclose(branch(held, chunk=1), branch.pathway(normalise(held.frames_NHWC)), rtol=0, atol=1e-12)


def test_a_frame_changes_the_features_of_18_frames_on_either_side(branch):
    held = frames(61)
    with torch.no_grad():
        for weight in branch.parameters():
            weight.abs_()  # so that no ReLU ends what comes from one frame
        before = branch(held)
        held.frames_NHWC[30] = 255 - held.frames_NHWC[30]
        changed = (branch(held) - before).abs().amax(1).nonzero().flatten().tolist()
    assert changed == list(range(12, 49))


@pytest.mark.parametrize("recompute", [True, False])
def test_gradients_are_the_originals_whether_chunks_are_computed_again_or_kept(original, branch, recompute):
    held = frames(45)
    expected, found = theirs(original, held), branch(held, chunk=10, recompute=recompute)
    direction = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    original.zero_grad()
    branch.zero_grad()
    (expected * direction).sum().backward()
    (found * direction).sum().backward()
    gradients = fast_weights({f"{EXTRACTOR}{name}": weight.grad for name, weight in original.named_parameters()})
    ours = dict(branch.named_parameters())
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.norm() > 0, name
        assert torch.allclose(ours[name].grad, gradient, rtol=1e-9, atol=1e-9 * float(gradient.norm())), name
    assert not any(weight.grad is not None for name, weight in original.named_parameters() if "y_blocks.0." in name)
    statistics = fast_weights({f"{EXTRACTOR}{name}": buffer for name, buffer in original.named_buffers()})
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in branch.named_buffers())


def test_nothing_is_kept_for_a_backward_pass_that_learns_nothing(branch):
    branch.requires_grad_(False)
    assert not branch(frames(20), chunk=8).requires_grad


def test_positions_are_added_by_frame_number_and_more_frames_are_refused():
    branch = MotionBranch(SMALL)
    with torch.no_grad():
        added = branch(frames(100)) - branch.pathway.read(frames(100))
    assert torch.allclose(added, branch.position_embedding.weight, atol=1e-5)
    with pytest.raises(PromptError, match=r"has 104 frames, more than the 100 positions .* model\.motion\.stride"):
        branch(frames(104))


def test_bfloat16_differs_by_its_rounding_only(original, branch):
    held = frames(24)
    with torch.no_grad():
        expected = branch.float()(held)
        found = branch.bfloat16()(held)
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 0.03 * expected.norm()


# ---- VQA²'s own numbers


@pytest.fixture(scope="module")
def reference(vqa2) -> MotionBranch:
    """The reference weights; all have the same exact value in float32."""
    weights = fast_weights(load_file(vqa2 / "weights.safetensors"))
    branch = MotionBranch(MotionDims.of({name: value.shape for name, value in weights.items()}))
    branch.load_state_dict(weights)
    return branch


def motion_frames(vqa2, video: str, case: dict, *, num_frames: int) -> HeldFrames:
    """The frames of one video of a case, all from the start unless the case says which."""
    pixels = np.load(vqa2 / "pixels_u8.npz")
    wanted = case.get("motion_frame_indices") or list(range(num_frames))
    stored = list(pixels[f"{video}_indices"]) if f"{video}_indices" in pixels.files else list(range(len(pixels[video])))
    chosen = pixels[video][[stored.index(number) for number in wanted]]
    return HeldFrames(torch.from_numpy(chosen).permute(0, 2, 3, 1).contiguous())


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=ACTIVATION)


def test_features_are_vqa2s_behind_every_block(vqa2, reference):
    means: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda *given: means.append(given[2].mean((2, 3))))
        for block in reference.pathway.blocks
    ]
    num_compared = 0
    for name, case in json.loads((vqa2 / "cases.json").read_text()).items():
        tensors = load_file(vqa2 / f"case_{name}.safetensors")
        videos = [case["video"]] if isinstance(case.get("video"), str) else case.get("video", [])
        for index, video in enumerate(videos):
            suffix = f".{index}" if len(videos) > 1 else ""
            expected = tensors[f"motion_features{suffix}"]
            held = motion_frames(vqa2, video, case, num_frames=len(expected))
            with torch.no_grad():
                means.clear()
                whole = reference.pathway(normalise(held.frames_NHWC))
                for number, mean in enumerate(means):
                    assert_close(mean, tensors[f"slowfast_block{number}_fast_spatial_mean{suffix}"])
                assert_close(whole, tensors[f"motion_features_no_pos{suffix}"])
                for chunk in (None, 3, 19):
                    assert_close(reference(held, chunk=chunk), expected)
            num_compared += 1
    for hook in hooks:
        hook.remove()
    assert num_compared >= 6


def test_both_pathways_have_the_published_weights(vqa2):
    keys = json.loads((vqa2 / "state_dict_keys_7b.json").read_text())
    place = f"{EXTRACTOR}feature_extraction."
    published = {key: tuple(fact["shape"]) for key, fact in keys.items() if key.startswith(place)}
    with torch.device("meta"):
        state = SlowFast(MotionDims()).state_dict()
    assert {f"{EXTRACTOR}{key}": tuple(value.shape) for key, value in state.items()} == published


def test_one_pathway_is_nine_and_a_half_times_less_work():
    work = []
    for make in (lambda: MotionBranch(MotionDims()).pathway, lambda: SlowFast(MotionDims())):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            make()(torch.empty(4, 3, 384, 384))
        work.append(counter.get_total_flops() / 4)
    assert work[0] == pytest.approx(0.97e9, rel=0.01)
    assert work[1] / work[0] == pytest.approx(9.5, abs=0.05)


# ---- memory

GROWTH = """
import sys
from pathlib import Path
import torch
from evqa.media.clip import ClipSpec, FrameStream, read_clip
from evqa.media.resize import Resize
from evqa.media.sampling import FrameSampling
from evqa.models.vqa2.motion import FastPathway, MotionDims
def resident_mb(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) / 1024
pathway = FastPathway(MotionDims())
sampling = FrameSampling(policy="all", multiple_of=4, at_most=10_000)
spec = ClipSpec(motion=FrameStream(sampling=sampling, resize=Resize(size=int(sys.argv[2]))))
before = resident_mb("VmRSS:")
clip = read_clip(Path(sys.argv[1]), spec)
with torch.no_grad():
    features = pathway.read(clip.motion)
print(len(features), resident_mb("VmHWM:") - before)
"""


def growth_mb(path: Path, *, num_frames: int, size: int) -> float:
    """What a fresh process grows by, from reading a clip of 60 frames a second to its features."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        rows, columns = np.mgrid[:360, :640]
        for number in range(num_frames):
            moving = [(columns + 3 * number) % 256, (rows + 2 * number) % 256, (rows + columns) % 256]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.stack(moving, -1).astype("u1"), format="rgb24")))
        container.mux(stream.encode())
    command = [sys.executable, "-c", GROWTH, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=850)
    found, grown = done.stdout.split()
    assert int(found) == num_frames
    return float(grown)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_features_take_memory_that_does_not_grow_with_the_clip(tmp_path):
    assert growth_mb(tmp_path / "clip.mp4", num_frames=300, size=112) < 220


@pytest.mark.slow
@pytest.mark.skipif("EVQA_LONG_CLIPS" not in os.environ, reason="takes minutes (set EVQA_LONG_CLIPS)")
def test_a_minute_at_60_frames_a_second_takes_less_than_a_gigabyte(tmp_path):
    assert growth_mb(tmp_path / "clip.mp4", num_frames=3600, size=384) < 1000
