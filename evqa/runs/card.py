"""The cost card of a dry run: what a configuration would take, before anything is loaded or submitted."""

from __future__ import annotations

import dataclasses

from torch import nn

from evqa.config.environment import hidden
from evqa.heads.base import Head
from evqa.models.base import RANDOM_WEIGHTS, Cost
from evqa.models.license import License, terms_of
from evqa.runs import extent
from evqa.training.build import BuiltModel
from evqa.training.losses import Loss, Sum
from evqa.training.plan import RunPlan
from evqa.training.tuning import apply_tuning, trained_parts

GIGABYTE = 1e9


@dataclasses.dataclass(frozen=True)
class Memory:
    """Estimated bytes on each device; activations are for one batch."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Sum without the allocator's reserve and the CUDA context (about 10 %)."""
        return self.weights + self.gradients + self.optimizer + self.activations


def cost_card(plan: RunPlan, built: BuiltModel) -> list[tuple[str, str]]:
    """Estimate tokens, parameters, memory, time and disk. built: without weights; it is tuned as the plan says."""
    apply_tuning(built.model, plan.tuning)
    load = built.model.cost_per_sample()
    batch_size = plan.data.batches.batch_size
    memory = estimate_memory(built, load, batch_size=batch_size, precision=plan.trainer.precision)
    parts = trained_parts(built.model, built.head)
    tokens = ", ".join(f"{count:,} {name}" for name, count in load.tokens.items())
    settings = plan.trainer
    num_batches = settings.accumulate * settings.devices * settings.num_nodes
    return [
        *_weights_rows(built.model.base_name(), built.model.license),
        ("tokens a sample", f"{sum(load.tokens.values()):,} ({tokens})"),
        *((f"parameters: {part.name}", f"{part.total:,} ({part.trained:,} trained)") for part in parts),
        ("parameters", f"{sum(p.total for p in parts):,} ({sum(p.trained for p in parts):,} trained)"),
        ("memory: weights", gigabytes(memory.weights)),
        ("memory: gradients", gigabytes(memory.gradients)),
        ("memory: optimizer (AdamW)", gigabytes(memory.optimizer)),
        (f"memory: activations, batch of {batch_size}", gigabytes(memory.activations)),
        ("memory a device, training", gigabytes(memory.total)),
        ("memory a device, scoring", gigabytes(memory.weights + memory.activations / max(1, load.num_layers))),
        ("samples an optimizer step", str(batch_size * num_batches)),
        *_comparing_rows(plan.loss, head=built.head, batch_size=batch_size, num_batches=num_batches),
        *_extent_rows(plan, built, load),
    ]


def _extent_rows(plan: RunPlan, built: BuiltModel, load: Cost) -> list[tuple[str, str]]:
    """Steps, time and disk; where the data are not known yet, what one item takes."""
    amount, checkpoints = extent.amount_of(plan), extent.checkpoint_bytes(built)
    all_kept = plan.recorded.callbacks.checkpoints.get("keep") == "all"
    best = checkpoints.whole if all_kept else checkpoints.weights
    during = 2 * checkpoints.whole + best
    return [
        *_time_rows(plan, amount, operations=extent.operations(built, load)),
        ("disk: checkpoints, while training", gigabytes(during)),
        ("disk: checkpoints, when finished", gigabytes(during if all_kept else best)),
        *_cache_rows(plan, amount, extent.clip_bytes(built.model.preparer.clip)),
    ]


def _time_rows(plan: RunPlan, amount: extent.Amount, *, operations: float) -> list[tuple[str, str]]:
    each = ("operations, training on a sample", f"{operations:.1e} (trunk)")
    if not amount.num_train:
        return [("optimizer steps", f"not known: {amount.reason or 'there is nothing to train on'}"), each]
    epochs, accelerator = plan.trainer.epochs, plan.trainer.accelerator
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and plan.trainer.device == "cpu")
    seconds = operations * amount.num_train * epochs / (extent.PEAK * extent.SHARE * plan.trainer.num_processes)
    time = f"{extent.duration(seconds)}, if {extent.SHARE:.0%} of an H100's bf16 peak is reached on each device"
    measured = "evqa benchmark train measures a step"
    steps = (
        f"{extent.num_steps(plan, amount.num_train):,} ({amount.num_train:,} items, {epochs} epoch{'s' * (epochs > 1)})"
    )
    return [
        ("optimizer steps", steps),
        each,
        ("time, training", f"not estimated for a CPU; {measured}" if on_cpu else f"{time}; {measured}"),
    ]


def _cache_rows(plan: RunPlan, amount: extent.Amount, each: int | None) -> list[tuple[str, str]]:
    if plan.data.batches.cache.folder is None:
        return []
    if each is None:
        return [("disk: decoded clips", "depends on the clips; evqa prepare decodes a few and tells")]
    total = "" if amount.num_files is None else f"{gigabytes(each * amount.num_files)}, "
    return [("disk: decoded clips, at most", f"{total}{gigabytes(each)} a file")]


def _weights_rows(base: str, license: License | None) -> list[tuple[str, str]]:
    return [] if base == RANDOM_WEIGHTS else [("weights", hidden(base)), ("their license", terms_of(base, license))]


def _comparing_rows(loss: Loss, *, head: Head, batch_size: int, num_batches: int) -> list[tuple[str, str]]:
    """Say how many items a correlation or ranking loss gets at once: accumulation does not widen it."""
    terms = loss.terms if isinstance(loss, Sum) else [loss]
    if not any(term.needs_pairs for term in terms) or not head.takes_loss:
        return []
    more = f"; a step averages {num_batches} such batches, weighted by their items" if num_batches > 1 else ""
    return [("samples that the loss compares", f"{batch_size}, of one batch{more}")]


def estimate_memory(built: BuiltModel, load: Cost, *, batch_size: int, precision: str) -> Memory:
    """Estimate bytes: stored weights, gradients of trained ones, two AdamW moments, and the trunk's activations."""
    modules: tuple[nn.Module, ...] = (built.model, built.head)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    trained = sum(parameter.numel() * parameter.element_size() for parameter in parameters if parameter.requires_grad)
    return Memory(
        weights=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        gradients=trained,
        optimizer=2 * trained,
        activations=activation_bytes(load, batch_size=batch_size, num_bytes=4 if precision == "32" else 2),
    )


def activation_bytes(load: Cost, *, batch_size: int, num_bytes: int) -> float:
    """Estimate what the trunk keeps for the backward pass.

    A layer without a stored attention matrix keeps about 10 values of the width and 3 of the MLP's width a token
    (Korthikanti et al., Reducing Activation Recomputation, MLSys 2023, section 4.1, with a gated MLP); with
    recomputation a layer keeps its input only, and one layer at a time is whole.
    """
    num_tokens = batch_size * sum(load.tokens.values())
    whole_layer = (10 * load.width + 3 * load.mlp_width) * num_tokens * num_bytes
    if not load.checkpointed:
        return float(load.num_layers * whole_layer)
    return float(load.num_layers * load.width * num_tokens * num_bytes + whole_layer)


def gigabytes(count: float) -> str:
    """Write bytes as a person reads them."""
    return f"{count / GIGABYTE:.2f} GB" if count >= GIGABYTE / 10 else f"{count / 1e6:.1f} MB"
