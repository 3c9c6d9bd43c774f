"""Which kernels of a compiled layer become one, and what that one moves."""

from collections import Counter

import torch
from torch import nn
from torch.nn import functional

from evqa.benchmarking.autocast import CudaCalls
from evqa.benchmarking.count import backward
from evqa.benchmarking.counting import KernelRecorder, LiveMemory
from evqa.benchmarking.fusion import fused
from evqa.benchmarking.parts import Parts
from tests.benchmarking.test_counting import meta

SIZE = 4 * 3 * 8  # bytes of a [3, 8]


class Layer(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, *tensors):
        return self.run(*tensors)


def joined(run, *tensors, behind=lambda value: value):
    """The kernels of a compiled layer and of what lies behind it, by phase: names and bytes."""
    recorder = KernelRecorder(Parts(), LiveMemory(tensors), waits := Counter(), layers=Parts())
    layer = Layer(run)
    with recorder, CudaCalls(waits), recorder.layers.each([layer]):
        result = behind(layer(*tensors))
        if result.requires_grad:
            backward(result.sum())
    found = {"forward": [], "backward": []}
    for kernel in fused(recorder.kernels, kept=recorder.memories.kept()):
        found[kernel.phase].append((bool(kernel.flops), kernel.num_bytes))
    return found


def test_a_chain_reads_its_input_and_writes_what_is_used_behind_it():
    x = meta(3, 8, learns=False)
    assert joined(lambda x: (x * 2 + x).exp(), x, behind=torch.neg)["forward"] == [(False, 2 * SIZE), (False, 2 * SIZE)]


def test_a_matrix_kernel_parts_two_chains():
    x, weight = meta(3, 8, learns=False), meta(8, 8, learns=False)
    found = joined(lambda x, weight: ((x + 1).exp() @ weight).neg().exp(), x, weight, behind=torch.neg)
    product = 2 * SIZE + 4 * 8 * 8
    assert found["forward"] == [(False, 2 * SIZE), (True, product), (False, 2 * SIZE), (False, 2 * SIZE)]


def test_what_the_backward_pass_needs_is_written_and_read_there():
    x = meta(3, 8)
    found = joined(lambda x: functional.silu(x * 2).neg(), x, behind=torch.exp)
    assert found["forward"][0] == (False, 3 * SIZE)  # input, output, and what silu's gradient needs
    assert found["backward"][-1][1] == 3 * SIZE  # that, the gradient, and the input's gradient


def test_parts_of_a_tensor_are_read_once_and_kernels_outside_of_layers_stay():
    x = meta(3, 8, learns=False)
    halves = joined(lambda x: torch.cat([x[:, 4:].neg(), x[:, :4]], 1) + x, x, behind=lambda y: y.exp().neg())
    assert halves["forward"] == [(False, 2 * SIZE), (False, 2 * SIZE), (False, 2 * SIZE)]
