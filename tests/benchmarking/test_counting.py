"""What is counted on tensors without values, beside counts by hand and beside PyTorch's own."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from evqa.benchmarking import autocast
from evqa.benchmarking.autocast import CudaCalls, autocasting
from evqa.benchmarking.cards import Card, card_of
from evqa.benchmarking.count import backward
from evqa.benchmarking.counting import Kernel, KernelRecorder, LiveMemory
from evqa.benchmarking.parts import Parts
from evqa.benchmarking.roofline import BANDWIDTH_SHARE, FLOPS_SHARE, roofline_seconds
from evqa.heads.precision import full_precision

BF16 = torch.bfloat16


def count(run, *, amp=False, weights=()):
    """Count `run` and, where it gives something with a gradient, its backward pass."""
    calls = CudaCalls(waits := Counter())
    recorder = KernelRecorder(Parts(), LiveMemory(weights), waits, forget=calls.forget)
    with autocasting(wanted=amp), recorder, calls:
        result = run()
        calls.forget()
        if isinstance(result, torch.Tensor) and result.requires_grad:
            backward(result.sum())
    return recorder


def of(counting, phase, name=None):
    return [kernel for kernel in counting.kernels if kernel.phase == phase and name in (None, kernel.name)]


def flops(counting, phase):
    return sum(kernel.flops for kernel in of(counting, phase))


def meta(*shape, dtype=torch.float32, learns=True):
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=learns)


def test_a_linear_layers_work_is_that_of_its_products():
    layer, x = nn.Linear(8, 4, device="meta"), meta(3, 8)
    counted = count(lambda: layer(x).exp())
    (forward,) = of(counted, "forward", "addmm")
    assert (forward.flops, forward.num_bytes) == (2 * 3 * 8 * 4, 4 * (4 + 3 * 8 + 8 * 4 + 3 * 4))
    to_input, to_weight = of(counted, "backward", "mm")
    assert to_input.flops == to_weight.flops == forward.flops
    assert {to_input.num_bytes, to_weight.num_bytes} == {4 * (3 * 4 + 4 * 8 + 3 * 8)}


def test_a_frozen_layer_has_half_the_work_backward_and_the_first_one_none():
    frozen = nn.Linear(8, 8, device="meta").requires_grad_(False)
    assert flops(count(lambda: frozen(meta(3, 8))), "backward") == 2 * 3 * 8 * 8
    assert flops(count(lambda: frozen(meta(3, 8, learns=False))), "backward") == 0


def test_a_product_that_is_added_where_the_sum_lies_is_a_matrix_kernel_that_reads_it():
    into, left, right = (meta(*shape, learns=False) for shape in ((3, 8), (3, 2), (2, 8)))
    (kernel,) = count(lambda: into.addmm_(left, right)).kernels
    assert (kernel.flops, kernel.num_bytes) == (2 * 3 * 2 * 8, 4 * (2 * 3 * 8 + 3 * 2 + 2 * 8))


def test_a_filter_of_a_depth_wise_convolution_sees_one_channel():
    layer = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False, device="meta")
    counted = count(lambda: layer(meta(2, 6, 5, 5)))
    assert flops(counted, "forward") == 2 * (2 * 5 * 5) * 6 * 9
    assert flops(counted, "backward") == 2 * flops(counted, "forward")


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_one_kernel_that_keeps_no_matrix(causal):
    query, key = meta(2, 4, 64, 8, dtype=BF16), meta(2, 1, 64, 8, dtype=BF16)

    def attend():
        return functional.scaled_dot_product_attention(query, key, key, is_causal=causal, enable_gqa=True)

    counted = count(attend, weights=[query, key])
    (forward,) = of(counted, "forward", "_scaled_dot_product_flash_attention")
    assert forward.flops == 4 * (2 * 4 * 64 * 64 * 8) / (2 if causal else 1)
    assert flops(counted, "backward") == 2.5 * forward.flops
    assert counted.memory.peak < 2 * 4 * 64 * 64 * 2  # bytes of one matrix of weights


def test_attention_with_a_mask_reads_it():
    query, mask = meta(2, 4, 64, 8, dtype=BF16), torch.ones(2, 1, 1, 64, dtype=torch.bool, device="meta")
    counted = count(lambda: functional.scaled_dot_product_attention(query, query, query, mask))
    assert [len(of(counted, phase, f"_scaled_dot_product_efficient_attention{end}")) for phase, end in
            (("forward", ""), ("backward", "_backward"))] == [1, 1]  # fmt: skip
    assert flops(counted, "forward") == 4 * (2 * 4 * 64 * 64 * 8)


def test_views_and_reserved_memory_are_no_kernels_and_repeated_values_are_read_once():
    x = meta(4, 1, learns=False)
    counted = count(lambda: (x.view(2, 2), torch.empty_like(x), x.expand(4, 100) + 1, x.fill_(0)))
    assert [(kernel.name, kernel.num_bytes) for kernel in counted.kernels] == [
        ("add", 4 * (4 + 400)),
        ("fill_", 4 * 4),
    ]


def test_an_embedding_reads_the_rows_that_are_asked_for():
    table, ids = nn.Embedding(1000, 8, device="meta"), torch.zeros(3, dtype=torch.long, device="meta")
    (kernel,) = of(count(lambda: table(ids)), "forward", "embedding")
    assert kernel.num_bytes == 3 * 8 + 2 * (3 * 8 * 4)


def test_a_block_that_is_computed_again_counts_twice_with_its_casts():
    block = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU()).to("meta")
    x = meta(3, 8)
    plain = count(lambda: block(x), amp=True)
    again = count(lambda: checkpoint(block, x, use_reentrant=False), amp=True)
    assert flops(plain, "again") == 0
    assert flops(again, "again") == flops(again, "forward") == flops(plain, "forward") > 0
    assert flops(again, "backward") == flops(plain, "backward")
    assert len(of(again, "again", "_to_copy")) == len(of(again, "forward", "_to_copy")) == 5


class Types(TorchDispatchMode):
    """Lists operations with the types of their tensors."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            dtypes = [arg.dtype for arg in args if isinstance(arg, torch.Tensor)]
            self.seen.append((operation._schema.name, dtypes, result.dtype))
        return result


def test_weights_are_cast_once_a_block_as_pytorch_casts_them_on_a_cpu():
    def run(device, calls):
        torch.manual_seed(0)
        layer, conv = nn.Linear(8, 8, device=device), nn.Conv1d(8, 8, 3, padding=1, device=device)
        frozen = nn.Linear(8, 8, device=device).requires_grad_(False)
        with Types() as types:
            with calls:
                x = layer(layer(torch.empty(2, 8, device=device)))
                y = frozen(conv(x.unsqueeze(-1)).squeeze(-1)) @ frozen(x).T
            backward(y.float().sum())
        return types.seen

    real = run("cpu", torch.autocast("cpu", dtype=BF16))
    with autocasting(wanted=True):
        assert run("meta", CudaCalls(Counter())) == real
    assert sum(name == "aten::_to_copy" for name, *_ in real) > 8


def test_the_lists_are_pytorchs_own():
    names = torch._C._dispatch_get_all_op_names()
    own = {
        name.removeprefix("aten::").partition(".")[0]
        for name in names
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, "AutocastCUDA")
    }
    same = {"__matmul__": "matmul", "__rmatmul__": "matmul", "__pow__": "pow", "__rpow__": "pow"}
    same |= {"__rdiv__": "reciprocal", "cross_entropy": "log_softmax", "multi_dot": "linalg_multi_dot"}
    same |= {"interpolate": "upsample_bilinear2d"}
    listed = autocast.IN_16_BITS | autocast.IN_FLOAT32 | autocast.SUMMING_IN_FLOAT32
    assert {same.get(name, name) for name in listed} <= own


def test_norms_compute_in_float32_and_so_do_blocks_in_full_precision():
    layer, norm, x = nn.Linear(8, 8, device="meta"), nn.LayerNorm(8, device="meta"), meta(3, 8)
    with autocasting(wanted=True), CudaCalls(Counter()):
        assert layer(x).dtype == BF16
        assert norm(layer(x)).dtype == torch.float32
        with full_precision(x):
            assert layer(x).dtype == torch.float32
    assert layer(x).dtype == torch.float32


def test_memory_is_what_is_alive_at_once():
    weight = meta(1000)
    counted = count(lambda: (weight * 2).exp().mean(), weights=[weight])
    # exp's output is kept for the backward pass; at its peak there are three vectors: that one, a gradient, the next.
    assert counted.memory.peak == pytest.approx(3 * 4000, abs=100)
    assert counted.memory.live == pytest.approx(4000, abs=100)  # the weight's gradient


def test_what_is_waited_for_is_counted():
    def run():
        torch.zeros(3).to("meta")
        torch.zeros(3).to("meta", non_blocking=True)
        torch.tensor([1.0], device="meta")
        return bool(torch.zeros(2, device="meta").isfinite().all())

    assert count(run).waits == {"to": 1, "tensor": 1, "truth value": 1}


def test_a_kernel_takes_the_longer_of_computing_and_moving():
    card = Card(bf16_flops=100.0, float32_flops=10.0, bandwidth=20.0, memory=1.0)

    def seconds(num_flops, num_bytes, *, half):
        kernel = Kernel(phase="forward", part="", name="", flops=num_flops, num_bytes=num_bytes, is_half=half)
        return roofline_seconds(kernel, card)

    assert seconds(1000, 0, half=True) == pytest.approx(10 / FLOPS_SHARE)
    assert seconds(1000, 0, half=False) == pytest.approx(100 / FLOPS_SHARE)
    assert seconds(10, 1000, half=True) == pytest.approx(50 / BANDWIDTH_SHARE)


def test_a_devices_name_leads_to_its_card():
    assert card_of("NVIDIA H100 PCIe").bandwidth < card_of("NVIDIA H100 80GB HBM3").bandwidth
    assert card_of("NVIDIA L40S").memory > card_of("NVIDIA L4").memory
    assert card_of("NVIDIA GeForce RTX 4090") is None
