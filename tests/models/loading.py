"""Load 6 shards into a model, with little more memory than one of them takes; a program of its own, started by tests.

Arguments: folder with the shards, device, whether everything that was read is kept ("keep"), bytes allowed on top.
"""

import resource
import sys
from pathlib import Path

import torch
from torch import nn

from evqa.models.hub import Checkpoint
from evqa.models.key_adapter import KeyAdapter
from evqa.models.weight_files import WeightFile
from evqa.models.weights import load_weights

WIDTH = 2048


def allow(num_bytes: int) -> None:
    """Allow no more private memory than there is now and `num_bytes` on top."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmData"].split()[0]) * 1024 + num_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main(folder: str, device: str, keep: str, num_bytes: str) -> None:
    """Load; ends with an error where the memory does not suffice."""
    with torch.device("meta"):
        model = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(24))
    kept, each = [], WeightFile.each
    if keep == "keep":  # what a loader would do that collects a whole checkpoint

        def hoard(self, keys, take):
            each(self, keys, lambda key, tensor: (kept.append(tensor), take(key, tensor)))

        WeightFile.each = hoard
    torch.ones(8).to(torch.bfloat16)  # what torch allocates once
    names = {name for name, _ in model.named_parameters()}
    allow(int(num_bytes))
    load_weights(model, Checkpoint(name="big", folder=Path(folder)), KeyAdapter(), complete=names, device=device)
    assert {parameter.device.type for parameter in model.parameters()} == {device}
    assert device == "meta" or all(parameter[0, 0] == 0 for parameter in model.parameters())
    print("loaded")


if __name__ == "__main__":
    main(*sys.argv[1:])
