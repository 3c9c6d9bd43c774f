"""The cost card of a dry run: what a configuration would take, before anything is loaded or submitted."""

from __future__ import annotations

from evqa.benchmarking.count import StepCounter
from evqa.config.environment import hidden
from evqa.errors import PromptError, RunError
from evqa.heads.base import Head
from evqa.models.base import RANDOM_WEIGHTS
from evqa.models.license import License, terms_of
from evqa.runs import extent
from evqa.runs.recomputation import memory_of
from evqa.training.build import BuiltModel
from evqa.training.losses import Loss, Sum
from evqa.training.plan import RunPlan
from evqa.training.tuning import trained_parts

GIGABYTE = 1e9


def cost_card(plan: RunPlan, built: BuiltModel) -> list[tuple[str, str]]:
    """Count tokens, parameters, memory and operations; estimate time and disk.

    built: without weights; it is tuned as the plan says.
    """
    counter = StepCounter(plan, built)
    tokens = built.model.tokens_per_sample()
    batch_size = plan.data.batches.batch_size
    parts = trained_parts(built.model, built.head)
    kinds = ", ".join(f"{count:,} {name}" for name, count in tokens.items())
    settings = plan.trainer
    num_batches = settings.accumulate * settings.devices * settings.num_nodes
    memory_rows, operations = _count(plan, counter)
    return [
        *_weights_rows(built.model.base_name(), built.model.license),
        ("tokens a sample", f"{sum(tokens.values()):,} ({kinds})"),
        *((f"parameters: {part.name}", f"{part.total:,} ({part.trained:,} trained)") for part in parts),
        ("parameters", f"{sum(p.total for p in parts):,} ({sum(p.trained for p in parts):,} trained)"),
        *memory_rows,
        ("samples an optimizer step", str(batch_size * num_batches)),
        *_comparing_rows(plan.loss, head=built.head, batch_size=batch_size, num_batches=num_batches),
        *_extent_rows(plan, built, operations),
    ]


def _count(plan: RunPlan, counter: StepCounter) -> tuple[list[tuple[str, str]], float | None]:
    """Count a training step and the scoring of a batch: rows on memory, and the operations of a sample where known.

    Memory is without fragments, workspaces and the CUDA context.
    """
    try:
        chosen = _recomputed_rows(plan, counter)
        step = counter.step()
        memory, scoring = counter.memory(step), counter.weights + counter.forward().held
    except (PromptError, RunError) as error:
        held = [("weights", counter.weights), ("gradients", counter.trained), ("AdamW", 2 * counter.trained)]
        at_least = ", ".join(f"{gigabytes(num_bytes)} {name}" for name, num_bytes in held)
        return [("memory a device, training", f"{at_least}; activations are not known. {error}")], None
    rows = [
        *chosen,
        ("memory: weights", gigabytes(memory.weights)),
        ("memory: gradients", gigabytes(memory.gradients)),
        ("memory: optimizer (AdamW)", gigabytes(memory.optimizer)),
        (f"memory: activations, batch of {plan.data.batches.batch_size}", gigabytes(memory.activations)),
        ("memory a device, training", gigabytes(memory.peak)),
        ("memory a device, scoring", gigabytes(scoring)),
    ]
    return rows, sum(kernel.flops for kernel in step.kernels) / plan.data.batches.batch_size


def _recomputed_rows(plan: RunPlan, counter: StepCounter) -> list[tuple[str, str]]:
    """Say which layers are computed again, where the configuration leaves it to the device; set what is said."""
    if not counter.chooses:
        return []
    if (memory := memory_of(plan.trainer.device)) is not None:
        return [("model.recompute=auto, on this GPU", str(counter.fit(memory)))]
    none, every = counter.peak(0), counter.peak(len(counter.built.model.blocks()["language"]))
    chosen = f"as few layers as the GPU's memory allows: none take {gigabytes(none)}, all (as below) {gigabytes(every)}"
    return [("model.recompute=auto, where it runs", chosen)]


def _extent_rows(plan: RunPlan, built: BuiltModel, operations: float | None) -> list[tuple[str, str]]:
    """Steps, time and disk; where the data are not known yet, what one item takes."""
    amount, checkpoints = extent.amount_of(plan), extent.checkpoint_bytes(built)
    all_kept = plan.recorded.callbacks.checkpoints.get("keep") == "all"
    best = checkpoints.whole if all_kept else checkpoints.weights
    during = 2 * checkpoints.whole + best
    return [
        *_time_rows(plan, amount, operations=operations),
        ("disk: checkpoints, while training", gigabytes(during)),
        ("disk: checkpoints, when finished", gigabytes(during if all_kept else best)),
        *_cache_rows(plan, amount, extent.clip_bytes(built.model.preparer.clip)),
    ]


def _time_rows(plan: RunPlan, amount: extent.Amount, *, operations: float | None) -> list[tuple[str, str]]:
    counted = "not known" if operations is None else f"{operations:.1e}, recomputed ones included"
    each = ("operations, training on a sample", counted)
    if not amount.num_train:
        return [("optimizer steps", f"not known: {amount.reason or 'there is nothing to train on'}"), each]
    epochs = plan.trainer.epochs
    steps = (
        f"{extent.num_steps(plan, amount.num_train):,} ({amount.num_train:,} items, {epochs} epoch{'s' * (epochs > 1)})"
    )
    time = _time(plan, None if operations is None else operations * amount.num_train * epochs)
    return [("optimizer steps", steps), each, ("time, training", f"{time}; evqa benchmark train measures a step")]


def _time(plan: RunPlan, operations: float | None) -> str:
    settings = plan.trainer
    if settings.accelerator == "cpu" or (settings.accelerator == "auto" and settings.device == "cpu"):
        return "not estimated for a CPU"
    if operations is None:
        return "not known"
    seconds = operations / (extent.PEAK * extent.SHARE * settings.num_processes)
    return f"{extent.duration(seconds)}, if {extent.SHARE:.0%} of an H100's bf16 peak is reached on each device"


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


def gigabytes(count: float) -> str:
    """Write bytes as a person reads them."""
    return f"{count / GIGABYTE:.2f} GB" if count >= GIGABYTE / 10 else f"{count / 1e6:.1f} MB"
