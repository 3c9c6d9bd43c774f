"""What of a model is trained: everything, chosen parts, or low-rank adapters (Hu et al., LoRA, ICLR 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from torch import nn

from evqa.errors import ConfigError
from evqa.models.base import PARTS, Model
from evqa.models.four_bit import hold_in_four_bits, num_values
from evqa.models.own_precision import leave_autocasting
from evqa.types import Part

ADAPTER_WEIGHTS = "adapter_model.safetensors"  # of `save_adapter`; the name is peft's


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Which parts are adapted, trained fully, or frozen.

    method: `full` trains every part that is not frozen; `lora` and `qlora` adapt the linear layers of the parts in
        `adapt` (qlora: on 4-bit weights) and train the parts in `train` fully.
    freeze: parts that are not trained; null means the model's own choice (a vision tower, mostly).
    The head is always trained. Parts that a model does not have are ignored.
    """

    method: Literal["full", "lora", "qlora"] = "full"
    rank: Annotated[int, "1 <= rank <= 65536"] = 16
    alpha: Annotated[int, "1 <= alpha"] = 32
    dropout: Annotated[float, "0 <= dropout < 1"] = 0.0
    adapt: tuple[str, ...] = ("language",)
    train: tuple[str, ...] = ("connector", "audio_connector")
    freeze: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TrainedPart:
    """One row of the table of what is trained; counts are parameters."""

    name: str
    total: int
    trained: int


def apply_tuning(model: Model, tuning: Tuning, *, autocast: bool = False) -> None:
    """Inject adapters and set `requires_grad` everywhere; call once, before the optimizer is made.

    autocast: whether the model only ever computes under it (`trainer.precision`).
    """
    _check_names(model, tuning)
    frozen = model.frozen_parts() if tuning.freeze is None else tuning.freeze
    if tuning.method == "full":
        trained = {part.name for part in model.parts()} - set(frozen)
    else:
        _inject(model, tuning, autocast=autocast)
        if autocast:
            _leave_inputs(model)
        trained = set(tuning.train)
    for name, parameter in model.named_parameters():
        part = part_of(model, name)
        parameter.requires_grad_(is_adapter(name) or part in trained)
        if parameter.requires_grad and tuning.method != "full":
            # Small steps get lost in bfloat16; what little is trained beside a frozen base can afford float32.
            parameter.data = parameter.data.float()
    if autocast:
        leave_autocasting(_frozen_encoder_layers(model))


def _frozen_encoder_layers(model: Model) -> Iterator[nn.Module]:
    for name, layers in model.blocks().items():
        if name != "language":
            yield from (layer for layer in layers if not any(weight.requires_grad for weight in layer.parameters()))


def _check_names(model: Model, tuning: Tuning) -> None:
    """Refuse a part that no model has; one that this model lacks, or that was not built, is left out by any recipe."""
    named = {"adapt": tuning.adapt, "train": tuning.train, "freeze": tuning.freeze or ()}
    known = {*PARTS, *model.part_names, *(part.name for part in model.parts())}
    problems = [
        f"lora.{key}: no model has a part {name!r}. This one has: {', '.join(sorted(known & {*model.part_names}))}."
        for key, names in named.items()
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)


def is_adapter(name: str) -> bool:
    """Tell whether a parameter belongs to a low-rank adapter."""
    return ".lora_" in name


def part_of(model: Model, parameter_name: str) -> str:
    """Name the part that a parameter belongs to; `other` for what no part claims."""
    for part in model.parts():
        if any(parameter_name == prefix or parameter_name.startswith(prefix + ".") for prefix in part.prefixes):
            return part.name
    return "other"


def trained_parts(model: Model, head: nn.Module) -> list[TrainedPart]:
    """Count parameters by part; adapters stand in rows of their own."""
    counts: dict[str, list[int]] = {}
    named = [(f"head.{name}", parameter) for name, parameter in head.named_parameters()]
    for name, parameter in [*model.named_parameters(), *named]:
        row = "head" if name.startswith("head.") else part_of(model, name)
        row = f"{row} (LoRA)" if is_adapter(name) else row
        total_trained = counts.setdefault(row, [0, 0])
        total_trained[0] += num_values(parameter)
        total_trained[1] += num_values(parameter) * parameter.requires_grad
    return [TrainedPart(name, *pair) for name, pair in counts.items()]


def adapted_names(model: Model, tuning: Tuning) -> list[str]:
    """Name the linear layers that get adapters."""
    return [name for part in model.parts() if part.name in tuning.adapt for name, _ in _linears(model, part)]


def _inject(model: Model, tuning: Tuning, *, autocast: bool) -> None:
    import peft

    names = adapted_names(model, tuning)
    if not names:
        adaptable = [part.name for part in model.parts() if part.linear_names]
        raise ConfigError(
            [f"lora.adapt={list(tuning.adapt)}: nothing to adapt. Parts with linear layers: {adaptable}."]
        )
    if tuning.method == "qlora":
        hold_in_four_bits(model, names, counted=next(model.parameters()).is_meta)
        vars(model)["is_loaded_in_4bit"] = True  # peft asks this, not the layers, which kind of adapter fits
    # Full names: suffixes would also match layers of the same name in another tower.
    config = peft.LoraConfig(
        r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=tuning.dropout, target_modules=names, bias="none"
    )
    if autocast and tuning.method == "lora" and not tuning.dropout:
        from evqa.training.adapted_linear import AdaptedLinear

        config._register_custom_module({nn.Linear: AdaptedLinear})
    peft.inject_adapter_in_model(config, model)


def _leave_inputs(model: Model) -> None:
    """Spare every adapted layer a float32 copy of its input, which peft makes for the adapter's float32 weights.

    Autocasting turns it back into the bfloat16 values that it came from: outputs and gradients are the same bits.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            vars(module)["cast_input_dtype_enabled"] = False


def _linears(model: Model, part: Part) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in model.named_modules():
        inside = any(name.startswith(prefix + ".") for prefix in part.prefixes)
        if inside and isinstance(module, nn.Linear) and name.rpartition(".")[2] in part.linear_names:
            yield name, module


def merge_adapters(model: Model) -> None:
    """Fold every adapter into its base layer, in place, so that the model is a plain one again."""
    if not any(is_adapter(name) for name, _ in model.named_parameters()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.get_base_layer())


def save_adapter(model: Model, tuning: Tuning, folder: Path, *, base: str, revision: str | None) -> None:
    """Write the adapters, and the parts that were trained fully, as a folder that peft loads on the published base.

    Raises:
        ConfigError: the model has no adapters.
    """
    import peft
    from safetensors.torch import save_file

    names = {name: key for key, name in exported_names(model).items()}
    trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if name in names}
    adapters = {name: tensor for name, tensor in trained.items() if is_adapter(name)}
    if not adapters:
        raise ConfigError(["--adapter: the run trained no adapter (lora=none); leave the flag out to export it whole."])
    layers = sorted({_published_module(model, name.partition(".lora_")[0]) for name in adapters})
    wholes = {part_of(model, name) for name in trained if not is_adapter(name)}
    prefixes = [prefix for part in model.parts() if part.name in wholes for prefix in part.prefixes]
    peft.LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        bias="none",
        target_modules=layers,
        modules_to_save=[_published_module(model, name) for name in _savable(model, prefixes)] or None,
        base_model_name_or_path=base,
        revision=revision,
        task_type="CAUSAL_LM" if model.published_class() else None,  # else no class of peft's own kinds fits
        inference_mode=True,
    ).save_pretrained(str(folder))
    state = {names[name]: tensor for name, tensor in trained.items()}
    save_file(state, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def exported_names(model: Model) -> dict[str, str]:
    """Map the names in a file of `save_adapter` to the model's own: everything that is trained, adapters included."""
    trained = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return {f"base_model.model.{_published_parameter(model, name)}": name for name in trained}


def _savable(model: Model, prefixes: Sequence[str]) -> Iterator[str]:
    """Name modules; peft cannot save a list of modules as one, nor a single weight."""
    modules = dict(model.named_modules())
    for prefix in filter(modules.__contains__, prefixes):
        module = modules[prefix]
        if isinstance(module, nn.ModuleList):
            yield from (f"{prefix}.{name}" for name, _ in module.named_children())
        else:
            yield prefix


def _published_parameter(model: Model, name: str) -> str:
    return model.key_adapter.module_name_of(name.replace(".default.", "."))


def _published_module(model: Model, name: str) -> str:
    return model.key_adapter.module_name_of(f"{name}.weight").removesuffix(".weight")
