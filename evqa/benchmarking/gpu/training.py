"""The parts `train` and `qlora`: speed, memory and parts of training steps; and `count`, what was predicted of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from evqa.benchmarking.card_state import CardWatch
from evqa.benchmarking.count import count_training
from evqa.benchmarking.gpu.bench import Bench
from evqa.benchmarking.gpu.made_data import MadeData
from evqa.benchmarking.gpu.settings import Row
from evqa.benchmarking.made_batch import made_batch
from evqa.benchmarking.steps import time_training


def train(bench: Bench, row: Row) -> dict[str, Any]:
    """Time training steps on one batch, again and again."""
    plan = bench.plan(row)
    built, module = bench.build(plan, change=row.change)
    steps = bench.steps
    if not bench.is_tiny:  # whole windows, so that each optimizer step has its share
        steps = replace(steps, parts=plan.trainer.accumulate, timed=plan.trainer.accumulate * 2)
    batch = made_batch(built, plan.label, batch_size=plan.data.batches.batch_size)
    data = MadeData(batch, plan.data.batches, steps.total(bench.device))
    with CardWatch(bench.device) as watch:
        measured = time_training(lambda callbacks: bench.make_trainer(plan, callbacks), module, data, steps)
    card = {name: asdict(spread) for name, spread in watch.state.items()}
    return {**asdict(measured.times), "precision": str(plan.trainer.precision), "card": card}


def count(bench: Bench, row: Row, *, card_name: str) -> dict[str, Any]:
    """Count a row's step without a GPU, and predict it for a card. Raises RunError where it cannot be counted."""
    report = count_training(bench.plan(row), card_name=card_name)
    return {
        "card": card_name,
        "model_flops": report.flops_per_sample,
        "all_flops": report.all_flops_per_sample,
        "peak_flops": report.peak_flops,
        "samples_per_second": report.samples_per_second,
        "peak_bytes": report.memory.peak,
    }
