"""The cost card of a dry run: what a configuration would take, before anything is loaded or submitted."""

from __future__ import annotations

import dataclasses

from torch import nn

from evqa.config.environment import hidden
from evqa.heads.base import Head
from evqa.models.base import RANDOM_WEIGHTS, Cost
from evqa.models.license import License, terms_of
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
    """Estimate tokens, parameters and memory. built: without weights; it is tuned as the plan says."""
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
    ]


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
