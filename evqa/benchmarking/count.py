"""`benchmark count`: one training step of a recipe, run on tensors without values, and what a GPU would take for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evqa.benchmarking.autocast import CudaCalls, autocasting
from evqa.benchmarking.cards import CARDS, Card
from evqa.benchmarking.counting import TRUTH, Kernel, KernelRecorder, LiveMemory
from evqa.benchmarking.made_batch import BYTES_PER_TOKEN, made_batch
from evqa.benchmarking.parts import Parts
from evqa.benchmarking.reports import CountedMemory, CountedPart, CountReport
from evqa.errors import RunError
from evqa.training.build import BuiltModel, build_model, build_module
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan
from evqa.training.window import Window
from evqa.types import Batch, Inputs

# What good kernels reach of a data sheet's peaks: an assumption, the same for all of them.
FLOPS_SHARE, BANDWIDTH_SHARE = 0.7, 0.85
META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class CountedStep:
    """A training step as it was counted. held: bytes of gradients and activations at their peak."""

    kernels: list[Kernel]
    waits: dict[str, int]
    held: int
    num_positions: int


def count_training(plan: RunPlan, *, card_name: str) -> CountReport:
    """Count one training step of a run on one card; weights and data are not read.

    Raises:
        RunError: the model asks for values while it runs, or its weights are in 4 bits.
    """
    if plan.tuning.method == "qlora":
        raise RunError("lora=qlora cannot be counted: its 4-bit kernels run on a GPU alone. Count lora=r16 instead.")
    built = build_model(plan, load=False)
    module = build_module(plan, built)
    module.to(META).train()
    settings, precision = plan.trainer, str(plan.trainer.precision)
    if precision == "bf16-true":
        module.hold_in_bfloat16()
    batch = made_batch(built, plan.label, batch_size=plan.data.batches.batch_size)
    try:
        step = count_step(
            module,
            batch,
            autocast=precision != "32",
            accumulate=settings.accumulate,
            clips=settings.clip_norm is not None,
        )
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error).lower():
            raise
        raise RunError(
            f"{type(built.model).__name__} cannot be counted: while it runs it asks the GPU for numbers, which tensors "
            f"without values do not have ({str(error).splitlines()[0]}). Measure it on a GPU: evqa.benchmark train."
        ) from error
    return _report(plan, module, step, card_name=card_name, notes=_notes(plan, built, step))


def _notes(plan: RunPlan, built: BuiltModel, step: CountedStep) -> list[str]:
    notes = []
    if built.model.preparer.chat.is_stand_in:
        notes.append(f"the checkpoint's tokenizer is not here: {BYTES_PER_TOKEN} bytes of text are one token")
    if plan.trainer.num_processes > 1:
        notes.append("one card alone: what the processes exchange is not counted")
    if step.waits.get(TRUTH):
        notes.append("truth values that the step asks the device for are taken to be false, as of a mask with padding")
    return notes


def count_step(module: ScoreModule, batch: Batch, *, autocast: bool, accumulate: int, clips: bool) -> CountedStep:
    """Run forward, backward and optimizer step of a module on the meta device, as a training that goes on does.

    The gradients of the batches before are there: they are added to, or where every batch is a step of its own, freed
    between forward and backward.
    """
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    parts, memory, waits = Parts(), LiveMemory([*module.parameters(), *module.buffers()]), Counter[str]()
    calls = CudaCalls(waits)
    recorder = KernelRecorder(parts, memory, waits, forget=calls.forget)
    inputs = batch.inputs.to(META)
    for weight in trained:
        weight.grad = torch.empty_like(weight)
        memory.add(weight.grad)
    for tensor in inputs.tensors.values():
        memory.add(tensor)
    window = Window(unit=len(batch), num_batches=accumulate, device=META)
    with autocasting(wanted=autocast), recorder, calls:
        with parts.of(module.model):
            loss, num_positions = _forward(module, batch, inputs, window, parts)
        calls.forget()
        if accumulate == 1:
            module.zero_grad()
        backward(loss)
    return CountedStep(
        kernels=[*recorder.kernels, *optimizer_step(trained, clips=clips)],
        waits=dict(waits),
        held=memory.peak,
        num_positions=num_positions,
    )


def _forward(module: ScoreModule, batch: Batch, inputs: Inputs, window: Window, parts: Parts) -> tuple[Tensor, int]:
    """Return the loss of a batch, and how many positions the model read, padding included."""
    output = module.model(inputs)
    with parts.inside("head"):
        loss = module.head.loss(output, batch.label_B, module.criterion)
        num_padded = output.num_padded()
        return window.add(loss, module.head.count(output, batch.label_B), num_padded), num_padded[1]


def backward(loss: Tensor) -> None:
    """Run the engine itself: `backward` is a call of torch's, inside of which `CudaCalls` would see no other."""
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, True)


def optimizer_step(trained: Sequence[Tensor], *, clips: bool) -> list[Kernel]:
    """Kernels of an optimizer step, each over all weights at once, and how often they pass over these.

    Gradients are divided by what they are the mean of, their norm is taken, they are clipped where the run clips,
    and AdamW reads weight, gradient and two moments and writes all but the gradient.
    """
    passes = {"mean": 2, "norm": 1, "clip": 2 if clips else 0, "adamw": 7}
    return [
        Kernel(phase="optimizer", part="", name=name, flops=0.0, num_bytes=times * _size(trained), is_half=False)
        for name, times in passes.items()
        if times
    ]


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _report(plan: RunPlan, module: ScoreModule, step: CountedStep, *, card_name: str, notes: list[str]) -> CountReport:
    card, accumulate = CARDS[card_name], plan.trainer.accumulate
    parts = counted_parts(step.kernels, card)
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    return CountReport(
        card=card_name,
        precision=str(plan.trainer.precision),
        batch_size=plan.data.batches.batch_size,
        accumulate=accumulate,
        num_positions=step.num_positions,
        parts=parts,
        waits=step.waits,
        memory=CountedMemory(
            weights=_size([*module.parameters(), *module.buffers()]),
            gradients=_size(trained),
            optimizer=2 * _size(trained),
            activations=step.held - _size(trained),
        ),
        card_memory=card.memory,
        flops_share=FLOPS_SHARE,
        bandwidth_share=BANDWIDTH_SHARE,
        peak_flops=card.flops(is_half=plan.trainer.precision != "32"),
        seconds=sum(part.seconds / (accumulate if part.phase == "optimizer" else 1) for part in parts),
        notes=notes,
    )


def counted_parts(kernels: Sequence[Kernel], card: Card) -> list[CountedPart]:
    """Sum kernels by pass and part, in the order in which these begin."""
    places: dict[tuple[str, str], list[Kernel]] = {}
    for kernel in kernels:
        places.setdefault((kernel.phase, kernel.part), []).append(kernel)
    order = ("forward", "backward", "again", "optimizer")
    return [_summed(places[place], card) for place in sorted(places, key=lambda place: order.index(place[0]))]


def _summed(kernels: Sequence[Kernel], card: Card) -> CountedPart:
    return CountedPart(
        phase=kernels[0].phase,
        part=kernels[0].part,
        flops=sum(kernel.flops for kernel in kernels),
        matrix_bytes=sum(kernel.num_bytes for kernel in kernels if kernel.flops),
        other_bytes=sum(kernel.num_bytes for kernel in kernels if not kernel.flops),
        kernels=len(kernels),
        seconds=sum(roofline_seconds(kernel, card) for kernel in kernels),
    )


def roofline_seconds(kernel: Kernel, card: Card) -> float:
    """Time of a kernel that computes and moves data at once (Williams et al., Roofline, CACM 2009), at the shares."""
    computing = kernel.flops / (FLOPS_SHARE * card.flops(is_half=kernel.is_half))
    return max(computing, kernel.num_bytes / (BANDWIDTH_SHARE * card.bandwidth))
