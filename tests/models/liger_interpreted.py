"""Runs liger-kernel on a CPU: `TRITON_INTERPRET=1 python -m tests.models.liger_interpreted NAME`.

Prints as JSON how far scores and gradients of a LoRA step of a toy model are from those without it.
"""

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch
import triton.language
from liger_kernel.ops import rms_norm
from triton.runtime import interpreter

from evqa.models.kernels import liger_kernels
from tests.models.test_kernels import step


class Number(float):
    """A kernel's scalar, which the kernels cast; Triton's interpreter hands over Python's own floats."""

    def to(self, dtype):
        return self


def main(name):
    rms_norm.rsqrt = lambda value: triton.language.rsqrt(value)  # CUDA's own library cannot be interpreted
    convert = interpreter._implicit_cvt
    interpreter._implicit_cvt = lambda value: Number(value) if isinstance(value, float) else convert(value)
    with tempfile.TemporaryDirectory() as folder:
        arguments = import_module(f"tests.models.twins.{name}").write(Path(folder) / name)
        expected_B, expected = step(name, arguments, None, num_samples=1)
        scores_B, gradients = step(name, arguments, liger_kernels(), num_samples=1)
    flat, expected_flat = (torch.cat([g.flatten() for g in one.values()]) for one in (gradients, expected))
    print(json.dumps({"num_gradients": len(gradients), "scores": float((scores_B - expected_B).abs().max()),
                      "gradients": float((flat - expected_flat).norm() / expected_flat.norm())}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
