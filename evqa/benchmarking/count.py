"""`benchmark count`: one step of a recipe, run on tensors without values, and what a GPU would take for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from evqa.benchmarking.autocast import CudaCalls, autocasting
from evqa.benchmarking.cards import CARDS
from evqa.benchmarking.counting import TRUTH, Kernel, KernelRecorder, LiveMemory
from evqa.benchmarking.fitting import RESERVE, Fitting, fewest_recomputed, room_of
from evqa.benchmarking.fused import counted_kernels
from evqa.benchmarking.fusion import fused
from evqa.benchmarking.made_batch import BYTES_PER_TOKEN, made_batch
from evqa.benchmarking.parts import Parts
from evqa.benchmarking.reports import CountedMemory, CountReport
from evqa.benchmarking.roofline import BANDWIDTH_SHARE, FLOPS_SHARE, counted_parts
from evqa.benchmarking.sharded_memory import held_by_one
from evqa.errors import RunError
from evqa.models.compiling import compiled_units
from evqa.models.kernels import use_kernels
from evqa.training.build import BuiltModel, build_model, build_module
from evqa.training.module import ScoreModule
from evqa.training.plan import RunPlan
from evqa.training.tuning import merge_adapters
from evqa.training.window import Window
from evqa.types import Batch, Inputs

META = torch.device("meta")
AUTOCASTING = ("bf16", "bf16-true")  # of `trainer.precision`


@dataclass(frozen=True, kw_only=True)
class CountedStep:
    """A step as it was counted. held: bytes of gradients and activations at their peak."""

    kernels: list[Kernel]
    waits: dict[str, int]
    held: int
    num_positions: int


def count_training(plan: RunPlan, *, card_name: str) -> CountReport:
    """Count one training step of a run on one card; weights and data are not read.

    Raises:
        RunError: the model asks for values while it runs.
        ConfigError: nothing is trained with this precision.
    """
    plan.trainer.check_precision()
    counter = StepCounter(plan, build_model(plan, load=False))
    notes = []
    if counter.chooses:
        fitting = counter.fit(CARDS[card_name].memory)
        notes.append(f"model.recompute=auto: {fitting}, which leaves {RESERVE:.0%} of the card free")
    step = counter.step()
    notes += _notes(plan, counter.built, step)
    return _report(plan, step, counter.memory(step), card_name=card_name, notes=notes)


def count_scoring(plan: RunPlan, *, card_name: str) -> CountReport:
    """Count the model's forward pass as a finished run scores: adapters merged (not over 4 bits), torch's own kernels.

    Raises:
        RunError: the model asks for values while it runs.
    """
    plan = replace(plan, trainer=replace(plan.trainer, kernels="torch"))
    counter = StepCounter(plan, build_model(plan, load=False))
    if plan.tuning.method != "qlora":
        merge_adapters(counter.module.model)
    step = counter.forward()
    memory = CountedMemory(weights=counter.weights, gradients=0, optimizer=0, activations=step.held)
    notes = _notes(plan, counter.built, step)
    return _report(plan, step, memory, card_name=card_name, notes=notes, scores=True)


class StepCounter:
    """Counts steps of a run on tensors without values, as often as asked, with as many recomputed layers as are set.

    built: without weights; it is tuned here as the plan says, and stays on the meta device. batch: None makes one.
    """

    def __init__(self, plan: RunPlan, built: BuiltModel, batch: Batch | None = None) -> None:
        self.plan, self.built, self._given = plan, built, batch
        self.module = build_module(plan, built)
        self.module.to(META)
        if plan.trainer.kernels == "liger":
            use_kernels(built.model, counted_kernels())
        if plan.trainer.precision in ("bf16-true", "bf16-pure"):
            self.module.hold_in_bfloat16()

    @cached_property
    def _batch(self) -> Batch:
        return self._given or made_batch(self.built, self.plan.label, batch_size=self.plan.data.batches.batch_size)

    @property
    def chooses(self) -> bool:
        """Whether the number of recomputed layers is left to the card's memory."""
        return self.built.model.recompute == "auto"

    def fit(self, memory: float) -> Fitting:
        """Recompute the fewest layers with which a step fits a card of so much memory (bytes)."""
        num_layers = len(self.built.model.blocks().get("language", ()))
        fitting = fewest_recomputed(self.peak, num_layers=num_layers, room=room_of(memory))
        self.built.model.recompute_layers(fitting.count)
        return fitting

    def peak(self, num_recomputed: int) -> float:
        """Count the bytes at the peak of a step with so many recomputed layers."""
        self.built.model.recompute_layers(num_recomputed)
        return self.memory(self.step()).peak

    def step(self) -> CountedStep:
        """Count one training step.

        Raises:
            RunError: the model asks for values while it runs.
            PromptError: the question does not fit one clip, as that of a pair does not.
        """
        settings = self.plan.trainer
        with _told(self.built):
            return count_step(
                self.module.train(),
                self._batch,
                autocast=settings.precision in AUTOCASTING,
                accumulate=settings.accumulate,
                clips=settings.clip_norm is not None,
                compiled=compiled_units(self.built.model) if settings.compile else (),
            )

    def memory(self, step: CountedStep) -> CountedMemory:
        """Divide what a step held at its peak."""
        whole = CountedMemory(
            weights=self.weights,
            gradients=self.trained,
            optimizer=2 * self.trained,
            activations=step.held - self.trained,
        )
        settings, layers = self.plan.trainer, self.built.model.blocks()["language"]
        return held_by_one(whole, layers, num_processes=settings.num_processes) if settings.shards else whole

    @property
    def weights(self) -> int:
        """Bytes of weights and constants."""
        return _size([*self.module.parameters(), *self.module.buffers()])

    @property
    def trained(self) -> int:
        """Bytes of the weights that are trained, and so of their gradients."""
        return _size([weight for weight in self.module.parameters() if weight.requires_grad])

    def forward(self) -> CountedStep:
        """Count the model's forward pass over one batch. Raises as `step`."""
        with _told(self.built):
            autocast = self.plan.trainer.precision in AUTOCASTING
            return count_forward(self.module.eval(), self._batch, autocast=autocast)


@contextmanager
def _told(built: BuiltModel) -> Iterator[None]:
    """Say in a sentence that a model asks for values, which tensors without values do not have."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error).lower():
            raise
        raise RunError(
            f"{type(built.model).__name__} cannot be counted: while it runs it asks the GPU for numbers, which tensors "
            f"without values do not have ({str(error).splitlines()[0]}). Measure it on a GPU: evqa.benchmark train."
        ) from error


def _notes(plan: RunPlan, built: BuiltModel, step: CountedStep) -> list[str]:
    notes = []
    if built.model.preparer.chat.is_stand_in:
        notes.append(f"the checkpoint's tokenizer is not here: {BYTES_PER_TOKEN} bytes of text are one token")
    if plan.trainer.num_processes > 1:
        notes.append("one card alone: what the processes exchange is not counted")
    if step.waits.get(TRUTH):
        notes.append("truth values that the step asks the device for are taken to be false, as of a mask with padding")
    return notes


def count_step(
    module: ScoreModule,
    batch: Batch,
    *,
    autocast: bool,
    accumulate: int,
    clips: bool,
    compiled: Sequence[nn.Module] = (),
) -> CountedStep:
    """Run forward, backward and optimizer step of a module on the meta device, as a training that goes on does.

    The gradients of the batches before are there: they are added to, or where every batch is a step of its own, freed
    between forward and backward. compiled: modules whose kernels are joined as a compiler would.
    """
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    parts, memory, waits = Parts(), LiveMemory([*module.parameters(), *module.buffers()]), Counter[str]()
    calls = CudaCalls(waits)
    layers = Parts() if compiled else None
    recorder = KernelRecorder(parts, memory, waits, forget=calls.forget, layers=layers)
    inputs = batch.inputs.to(META)
    for weight in trained:
        weight.grad = torch.empty_like(weight)
        memory.add(weight.grad)
    for tensor in inputs.tensors.values():
        memory.add(tensor)
    window = Window(unit=len(batch), num_batches=accumulate, device=META)
    with autocasting(wanted=autocast), recorder, calls, parts.of(module.model), (layers or parts).each(compiled):
        loss, num_positions = _forward(module, batch, inputs, window, parts)
        calls.forget()
        if accumulate == 1:
            module.zero_grad()
        backward(loss)
    return CountedStep(
        kernels=[*fused(recorder.kernels, kept=recorder.memories.kept()), *optimizer_step(trained, clips=clips)],
        waits=dict(waits),
        held=memory.peak,
        num_positions=num_positions,
    )


@torch.no_grad()
def count_forward(module: ScoreModule, batch: Batch, *, autocast: bool) -> CountedStep:
    """Run a module's model forward on the meta device, without its head and without gradients."""
    parts, memory, waits = Parts(), LiveMemory([*module.parameters(), *module.buffers()]), Counter[str]()
    recorder, inputs = KernelRecorder(parts, memory, waits), batch.inputs.to(META)
    for tensor in inputs.tensors.values():
        memory.add(tensor)
    with autocasting(wanted=autocast), recorder, CudaCalls(waits), parts.of(module.model):
        output = module.model(inputs)
    num_positions = output.num_padded()[1]
    return CountedStep(kernels=recorder.kernels, waits=dict(waits), held=memory.peak, num_positions=num_positions)


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


def _report(
    plan: RunPlan, step: CountedStep, memory: CountedMemory, *, card_name: str, notes: list[str], scores: bool = False
) -> CountReport:
    card, accumulate = CARDS[card_name], plan.trainer.accumulate
    parts = counted_parts(step.kernels, card)
    return CountReport(
        card=card_name,
        precision=str(plan.trainer.precision),
        batch_size=plan.data.batches.batch_size,
        accumulate=accumulate,
        num_positions=step.num_positions,
        parts=parts,
        waits=step.waits,
        memory=memory,
        card_memory=card.memory,
        flops_share=FLOPS_SHARE,
        bandwidth_share=BANDWIDTH_SHARE,
        peak_flops=card.flops(is_half=plan.trainer.precision != "32"),
        seconds=sum(part.seconds / (accumulate if part.phase == "optimizer" else 1) for part in parts),
        notes=notes,
        scores=scores,
    )
