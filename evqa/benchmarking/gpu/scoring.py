"""The parts `score` and `parity`: how fast batches are scored, and what bfloat16 changes of the scores.

# N clips
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch

from evqa.benchmarking.card_state import CardWatch
from evqa.benchmarking.gpu.bench import Bench
from evqa.benchmarking.gpu.made_data import MadeLoader
from evqa.benchmarking.gpu.settings import Row
from evqa.benchmarking.made_batch import made_batch, varied_batch
from evqa.benchmarking.steps import time_scoring
from evqa.benchmarking.work import merge_for_scoring
from evqa.metrics.correlation import srocc
from evqa.scoring.computation import Computation
from evqa.training.model_with_head import ModelWithHead
from evqa.types import Batch

BATCH_SIZE = 4  # of the comparison of precisions: float32 weights take 34 GB


def score(bench: Bench, row: Row) -> dict[str, Any]:
    """Time how batches are scored."""
    plan = bench.plan(row)
    built, module = bench.build(plan)
    if row.change != "apart":
        merge_for_scoring(plan, module)
    batch_size, steps = plan.data.batches.batch_size, bench.steps
    loader = MadeLoader(made_batch(built, plan.label, batch_size=batch_size), steps.total(bench.device))
    with CardWatch(bench.device) as watch:
        measured = time_scoring(module, loader, bench.computation(plan), steps, batch_size=batch_size)
    card = {name: asdict(spread) for name, spread in watch.state.items()}
    return {**asdict(measured.times), "precision": str(plan.trainer.precision), "card": card}


def parity(bench: Bench, row: Row) -> dict[str, Any]:
    """Score the same clips in bfloat16 in three ways, and with float32 weights of the same values."""
    plan = bench.plan(row)
    built, module = bench.build(plan)
    _enlarge(module)
    merge_for_scoring(plan, module)
    seeds = range(bench.num_clips)
    batches = [
        varied_batch(built, plan.label, seeds=seeds[start : start + BATCH_SIZE])
        for start in range(0, len(seeds), BATCH_SIZE)
    ]
    computation = bench.computation(plan)
    bf16_N = _scores(module, batches, replace(computation, precision="bf16"))
    exact_N = _scores(module.float(), batches, replace(computation, precision="32"))
    true_N = _scores(module, batches, replace(computation, precision="bf16-true"))
    pure_N = _scores(module, batches, replace(computation, precision="bf16-pure"))
    spread = max(exact_N) - min(exact_N)
    return {
        "num_clips": len(exact_N),
        "spread": spread,
        "precisions": {
            name: {
                "srocc": float(srocc(scores_N, exact_N)),
                "largest_difference": max(abs(a - b) for a, b in zip(scores_N, exact_N, strict=True)),
                "distinct": len(set(scores_N)),
            }
            for name, scores_N in {"bf16": bf16_N, "bf16-true": true_N, "bf16-pure": pure_N, "32": exact_N}.items()
        },
    }


def _enlarge(module: ModelWithHead) -> None:
    """Make head and adapters, which begin with zeros, large enough for clips to differ."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.startswith("head."):
                weight.normal_(std=0.3)
            elif ".lora_B." in name:
                weight.normal_(std=0.02)


def _scores(module: ModelWithHead, batches: list[Batch], computation: Computation) -> list[float]:
    computation.place(module)
    with computation.active():
        values = [value for batch in batches for value in module.values(batch.to(computation.device))]
    return [value for value in values if isinstance(value, float)]
