"""`model.recompute=auto`: as few layers are computed again as the memory of the device asks for."""

from __future__ import annotations

import torch

from evqa.benchmarking.count import StepCounter
from evqa.errors import PromptError, RunError
from evqa.models.base import Model
from evqa.training.build import build_model
from evqa.training.plan import RunPlan


def choose_recomputed(plan: RunPlan, model: Model) -> str:
    """Set how many layers a model computes again, by a count of its step for this process's device; say why so many."""
    memory = memory_of(plan.trainer.device)
    if memory is None:
        return "nothing is computed again, because it does not run on a CUDA GPU"
    try:
        fitting = StepCounter(plan, build_model(plan, load=False)).fit(memory)
    except (PromptError, RunError) as error:
        model.recompute_layers(len(model.blocks()["language"]))
        return f"all layers of the language model are computed again, because its memory is not known. {error}"
    model.recompute_layers(fitting.count)
    return str(fitting)


def memory_of(device: str) -> float | None:
    """Bytes that this process may use of a GPU: what is free and what it holds already; None of another device."""
    if torch.device(device).type != "cuda":
        return None
    return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
