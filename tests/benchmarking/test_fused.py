"""What fused kernels are counted for, beside counts by hand."""

import pytest
import torch

from evqa.benchmarking.count import count_training
from evqa.benchmarking.fused import counted_kernels
from evqa.training.plan import read_plan
from tests.benchmarking.test_counting import count, meta, of
from tests.models.toys import configure

KERNELS = counted_kernels()


def test_a_norm_reads_its_input_once_and_is_one_kernel_each_way():
    x, weight = meta(3, 8), meta(8, learns=False)
    counted = count(lambda: KERNELS.rms_norm(x, weight, 1e-6).exp(), amp=True, weights=[x, weight])
    (forward,) = of(counted, "forward", "fused_norm")
    assert forward.num_bytes == 4 * (2 * 3 * 8 + 8 + 3)  # input, output, weight, a root a row
    (backward,) = of(counted, "backward", "fused_norm_backward")
    assert backward.num_bytes == 4 * (3 * 3 * 8 + 8 + 3)


def test_a_gated_product_reads_both_sides_and_writes_their_gradients_over_them():
    gate, up = meta(3, 8), meta(3, 8)
    counted = count(lambda: KERNELS.gated(gate * 1, up * 1).exp(), weights=[gate, up])
    assert [kernel.num_bytes for kernel in of(counted, "forward", "fused_gated")] == [4 * 3 * 3 * 8]
    assert [kernel.num_bytes for kernel in of(counted, "backward", "fused_gated_backward")] == [4 * 5 * 3 * 8]


def test_queries_and_keys_are_turned_where_they_lie():
    query, key = (meta(2, 5, heads, 4).transpose(1, 2) for heads in (3, 1))
    angles = [torch.empty(2, 5, 4, device="meta")] * 2
    counted = count(lambda: torch.cat(KERNELS.rotary(query, key, *angles), 1), weights=[query, key])
    moved = 4 * (2 * 2 * 5 * (3 + 1) * 4 + 2 * 2 * 5 * 4)
    assert [kernel.num_bytes for kernel in of(counted, "forward", "fused_rotation")] == [moved]
    assert len(of(counted, "backward", "fused_rotation")) == 1


@pytest.mark.parametrize("key", ["kernels=liger", "compile=true"])
def test_settings_of_speed_change_what_moves_and_not_what_is_computed(twin, key):
    def counted(**settings):
        config = configure(
            "videollama2", "av", "regression", "r8", arguments=twin("videollama2") | {"dtype": "bfloat16"}
        )
        config.trainer.precision = "bf16"
        config.trainer.update({name: value == "true" or value for name, value in settings.items()})
        parts = count_training(read_plan(config), card_name="H200").parts
        return {(part.phase, part.part): part for part in parts}

    name, value = key.split("=")
    before, after = counted(), counted(**{name: value})
    assert {place: part.flops for place, part in after.items()} == {place: part.flops for place, part in before.items()}
    for phase in ("forward", "backward"):
        less, more = after[phase, "language"], before[phase, "language"]
        assert less.other_bytes < 0.75 * more.other_bytes
        assert less.kernels < 0.8 * more.kernels
        assert less.matrix_bytes == more.matrix_bytes
