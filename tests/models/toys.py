"""Every model at toy size, found by listing conf/model: configurations, samples, and weights that make a difference."""

import torch
from omegaconf import OmegaConf

from evqa.config.composer import open_configuration
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.config.signature import read_schema
from evqa.types import Clip, Turn
from tests.asking import a_record
from tests.models.samples import Frames

COMPOSER = open_configuration("train")


def options(group):
    return sorted(group_options(group_folders(conf_folder())[group]))


def models():
    """Map every model class, by the name of its module, to one of its configurations and its modalities."""
    found = {}
    for option in options("model"):
        target = str(COMPOSER.compose([f"model={option}"]).model._target_)
        name = target.removeprefix("evqa.models.").split(".")[0]
        found.setdefault(name, (option, read_schema(target).facts["modalities"]))
    return found


def gives_scores(head):
    """Whether a head of conf/head scores, or only learns words."""
    target = str(COMPOSER.compose([f"head={head}"]).head._target_)
    return read_schema(target).facts.get("gives_scores", True)


MODELS = models()


def configure(name, modal, head, lora="none", *, arguments):
    """Compose a configuration of a model with its twin's arguments and cheap settings."""
    option, _ = MODELS[name]
    config = COMPOSER.compose([f"model={option}", f"modal={modal}", f"head={head}", f"lora={lora}"])
    for key, value in arguments.items():
        OmegaConf.update(config, f"model.{key}", value, force_add=True)
    for key, value in {"head.max_new_tokens": 3, "lora.rank": 4, "lora.dropout": 0.0}.items():
        if OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, value)
    return config


def samples(scorer, modal, *, learn):
    """Prepare samples of different lengths, in the size that the model asks for, one of them without media."""
    generator, items = torch.Generator().manual_seed(0), []
    spec = scorer.model.preparer.clip
    height, width = spec.frames.resize.target_hw(56, 84) if spec.frames else (56, 84)
    for index, (frames, seconds) in enumerate([(4, 0.5), (2, 1.3), (4, 0.9), (0, 0)]):
        shape = (frames, height, width, 3)
        seen = {
            "frames_FHWC": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            "seconds_F": torch.arange(frames).double() * 1.1,
        }
        if spec.motion is not None:
            side = spec.motion.resize.target_hw(56, 84)
            motion = torch.randint(0, 256, (3 * frames, *side, 3), dtype=torch.uint8, generator=generator)
            seen["motion"] = Frames(motion)
        heard = {"waveform_S": torch.randn(int(seconds * 16_000), generator=generator) * 0.1}
        if spec.audio_as == "fbank":
            heard["fbank_RM"] = torch.randn(int(seconds * 100), 128, generator=generator) * 3 + 12
        clip = Clip(**(seen if "v" in modal and frames else {}), **(heard if "a" in modal and frames else {}))
        record = a_record(name=str(index), path="x.mp4", title="A dog" * (index + 1), description="rolls")
        label = 0.2 + 0.2 * index if learn else None
        asked = scorer.prompt.turns(record, [clip])
        given = () if scorer.head.gives_scores else conversation(index)
        turns = (*asked, *given, *scorer.head.wording.turns(label, scorer.prompt))
        items.append(scorer.model.preparer.prepare(turns, [clip]))
    return items


def conversation(index):
    """Two answers of a record to learn, and the question between them, which is not."""
    return (
        Turn(role="assistant", text=f"It is {index}.", learn=True),
        Turn(role="user", text="Why?"),
        Turn(role="assistant", text="It shakes" + " a lot" * index, learn=True),
    )


def randomise(module):
    """Make head and adapters large, so that scores differ and a leak between samples would show."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("head.") or ".lora_B." in name:
                parameter.normal_(std=0.3)
