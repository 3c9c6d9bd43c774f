"""The reference numbers of LMM-EVQA (their README: ../shared/golden/lmm_evqa) and a checkpoint folder made of them."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from evqa.heads.regression import RegressionHead
from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.splice import collate_texts, prepare_text
from evqa.models.videollama2.model import Videollama2
from evqa.prompts.chat import Encoded
from evqa.types import Inputs
from tests.golden import TESTS, find

RELATIVE = 2e-5  # activations; tolerances as stated in the README of the reference numbers
SCORE = 5e-5
LOSS = 1e-4
GRADIENT = 1e-4


GOLDEN = find() or TESTS / "golden_small/lmm_evqa"


def read_json(name: str):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def read_tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"model/{name}.safetensors")


NUM_FRAMES = read_json("model/config.json")["model_config"]["num_frames"]


def write_checkpoint(folder: Path) -> Path:
    """Lay the small weights out as a published checkpoint folder."""
    config = read_json("model/config.json")
    sizes = {"vision_config": config["vision_config"], "beats_config": config["beats_config"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config["model_config"] | sizes))
    shutil.copyfile(GOLDEN / "model/state_dict.safetensors", folder / "model.safetensors")
    for file in (GOLDEN / "prompt/tokenizer_qwen2").iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


def setting(
    modal: str, *, policy: str = "first_n_seconds", logits: bool = False, hide_padding: bool = True
) -> BuildOptions:
    return BuildOptions(
        frames=FrameSampling(policy=policy, count=NUM_FRAMES, exact=True) if "v" in modal else None,
        audio=AudioWindow(policy="clips_8x2") if "a" in modal else None,
        logits=logits,
        hide_padding=hide_padding,
    )


def build(
    folder: Path, modal: str = "av", *, exact: bool = True, policy: str = "first_n_seconds", logits=False, **more
):
    """A small model in float32 and evaluation mode."""
    chosen = {"dtype": "float32"} | more
    asked = setting(modal, policy=policy, logits=logits, hide_padding=exact)
    return Videollama2(asked, checkpoint=str(folder), exact=exact, **chosen).eval()


def original_head(model) -> RegressionHead:
    """The checkpoint's own head, averaging padding as the original does."""
    state = model.head_state()
    head = RegressionHead(model.width, pooling="original", hidden=len(state["fc1.bias"]))
    head.load_state_dict(state)
    return head.eval()


def case_inputs(case: dict[str, torch.Tensor], kinds: list[str]) -> Inputs:
    """A batch of the reference inputs; frames are pixel values already (tests replace `normalise`)."""
    inputs = read_tensors("inputs")
    pixels, fbank = inputs["pixel_values"], inputs["fbank"]
    shown = [pixels[index] for index, kind in enumerate(kinds) if "v" in kind]
    sounds = [fbank[index] for index, kind in enumerate(kinds) if "a" in kind]
    texts = collate_texts(
        [
            prepare_text(Encoded(ids=tuple(ids[mask].tolist()), targets=(-100,) * int(mask.sum()), answer=0))
            for ids, mask in zip(case["in.input_ids"], case["in.attention_mask"], strict=True)
        ],
        pad=int(case["in.input_ids"][~case["in.attention_mask"]][0]) if not case["in.attention_mask"].all() else 0,
    )
    host = {
        "num_frames": tuple(pixels.shape[1] if "v" in kind else 0 for kind in kinds),
        "num_rows": tuple(fbank.shape[1] if "a" in kind else 0 for kind in kinds),
    }
    tensors = texts.tensors | ({"frames_NHWC": torch.cat(shown)} if shown else {})
    return Inputs(tensors=tensors | ({"fbank_NRM": torch.stack(sounds)} if sounds else {}), host=texts.host | host)


def case_names() -> list[str]:
    return sorted(path.stem.removeprefix("case_") for path in (GOLDEN / "model").glob("case_*.safetensors"))


def case_kinds(name: str) -> list[str]:
    return read_json("model/summary.json")["cases"][name].get("kinds") or [name.split("_")[0]] * int(
        name.split("_b")[1]
    )


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest value of the reference."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} is not {tuple(theirs.shape)}"
    return float((ours.detach().float() - theirs).abs().max() / theirs.abs().max())
