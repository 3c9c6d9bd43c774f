"""`benchmark count`: a whole step of a recipe, without a GPU, weights or data."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evqa import benchmark
from evqa.benchmarking.cards import CARDS
from evqa.benchmarking.count import StepCounter, count_scoring, count_step, count_training
from evqa.benchmarking.fitting import RESERVE, room_of
from evqa.benchmarking.made_batch import made_batch, made_clip, shortened
from evqa.benchmarking.reports import CountedMemory
from evqa.benchmarking.sharded_memory import held_by_one
from evqa.config.compose import compose
from evqa.errors import RunError
from evqa.models.tiny import Tiny
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from evqa.types import MEDIA, Turn
from tests.models.toys import MODELS, configure

TINY = ["data.batch_size=4", "lora=r8", "trainer.precision=bf16"]


def by_phase(report, phase):
    return {part.part: part for part in report.parts if part.phase == phase}


def test_products_of_a_step_are_those_that_pytorch_counts_in_a_real_one():
    plan = read_plan(compose(["data.batch_size=4"]))
    built = build_model(plan)
    module, batch = build_module(plan, built), made_batch(built, plan.label, batch_size=4)
    with FlopCounterMode(display=False) as counter:
        module.head.loss(module.model(batch.inputs), batch.label_B, module.criterion).backward()
    kernels = count_step(module.to("meta"), batch, autocast=False, accumulate=1, clips=True).kernels
    products = sum(kernel.flops for kernel in kernels if kernel.name in ("mm", "addmm"))
    assert products == counter.get_total_flops()  # which leaves out the CPU's attention


def counted(arguments, lora="r8"):
    config = configure("videollama2", "av", "regression", lora, arguments=arguments)
    return count_training(read_plan(config), card_name="H200")


def test_what_is_computed_again_is_no_model_arithmetic_and_saves_memory(twin):
    arguments = twin("videollama2")
    with_it, without = (counted(arguments | {"recompute": share, "recompute_media": bool(share)}) for share in (1, 0))
    assert with_it.flops_per_sample == without.flops_per_sample == without.all_flops_per_sample
    assert with_it.all_flops_per_sample > with_it.flops_per_sample
    assert with_it.hfu > with_it.mfu
    assert by_phase(with_it, "again").keys() <= by_phase(with_it, "forward").keys()
    assert not by_phase(without, "again")
    assert with_it.memory.activations < without.memory.activations
    assert with_it.seconds > without.seconds
    assert with_it.waits == without.waits == {}


def test_frozen_parts_have_no_work_backward(twin):
    arguments = twin("videollama2")
    report, full = counted(arguments), counted(arguments, lora="none")
    assert {"vision", "connector", "audio", "audio_connector", "language", "head"} <= by_phase(report, "forward").keys()
    backward = by_phase(report, "backward")
    assert {"connector", "audio_connector", "language", "head"} <= backward.keys()
    assert not {"vision", "audio"} & backward.keys()
    assert backward["language"].flops < by_phase(full, "backward")["language"].flops
    assert "audio" in by_phase(full, "backward")


def test_count_prints_tables_and_writes_all_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    benchmark.main(["count", *TINY, "trainer.accumulate=2", "--card=L4", "--json=count.json"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "One training step, 4 samples: counted without a GPU, predicted, not measured" in printed
    assert "L4, predicted, not measured" in printed
    assert "70% of 121 TFLOP/s in matrix kernels (bf16), 85% of its bandwidth" in printed
    report = json.loads((tmp_path / "count.json").read_text())
    seconds = sum(part["seconds"] / (2 if part["phase"] == "optimizer" else 1) for part in report["parts"])
    assert report["seconds"] == pytest.approx(seconds)
    assert report["samples_per_second"] == pytest.approx(4 / seconds)
    assert report["mfu"] == pytest.approx(report["flops_per_sample"] * 4 / seconds / 121e12)
    assert report["peak_bytes"] == sum(report["memory"].values())
    assert report["memory"]["optimizer"] == 2 * report["memory"]["gradients"] > 0
    assert not list(tmp_path.glob("cache/*"))


def test_scoring_is_a_forward_pass_of_layers_with_their_adapters_merged(capsys):
    benchmark.main(["count", *TINY, "--score"])
    assert "One batch as it is scored, 4 samples: counted without a GPU" in " ".join(capsys.readouterr().out.split())
    trained, plain = (read_plan(compose([*TINY, *more])) for more in ([], ["lora=none"]))
    scored = count_scoring(trained, card_name="H200")
    assert [part.phase for part in scored.parts] == ["forward"] * len(scored.parts)
    assert scored.flops_per_sample == count_scoring(plain, card_name="H200").flops_per_sample
    assert (scored.memory.gradients, scored.memory.optimizer, scored.waits) == (0, 0, {})
    assert count_training(trained, card_name="H200").seconds > 2 * scored.seconds
    pure = count_scoring(read_plan(compose([*TINY, "trainer.precision=bf16-pure"])), card_name="H200")
    assert sum(part.other_bytes for part in pure.parts) < sum(part.other_bytes for part in scored.parts)
    assert pure.flops_per_sample == scored.flops_per_sample


def test_faster_memory_makes_a_step_faster_and_counts_the_same():
    slow, fast = (count_training(read_plan(compose(TINY)), card_name=name) for name in ("H100", "H200"))
    assert slow.seconds > fast.seconds
    assert [part.flops for part in slow.parts] == [part.flops for part in fast.parts]


def test_a_model_that_asks_for_truth_values_is_counted_with_its_waits_and_one_that_asks_for_numbers_is_not(
    twin, monkeypatch
):
    config = configure("videollama2", "av", "regression", "r8", arguments=twin("videollama2"))
    config.head.pooling = "original"
    masked = count_training(read_plan(config), card_name="H200")
    assert masked.waits["truth value"] > 0
    assert "truth values that the step asks the device for are taken to be false" in masked.notes[-1]
    monkeypatch.setattr(Tiny, "forward", lambda _, inputs: inputs["text_BT"].tolist())
    with pytest.raises(RunError, match="cannot be counted: while it runs it asks the GPU for numbers"):
        count_training(read_plan(compose(TINY)), card_name="H200")


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen2_5_omni", "qwen3_vl"])
def test_windows_are_one_call_a_layer_whose_arithmetic_follows_their_lengths(twin, name):
    arguments = twin(name) | {"dtype": "bfloat16", "recompute": 0, "recompute_media": False}
    config = configure(name, MODELS[name][1][-1], "regression", "none", arguments=arguments)
    config.lora.freeze = []
    plan = read_plan(config)
    built = build_model(plan, load=False)
    module = build_module(plan, built).to("meta")
    towers = [tower for tower in (module.model.body.visual, getattr(module.model.body, "audio_tower", None)) if tower]
    layers = sum(len(getattr(tower, "blocks", None) or tower.layers) for tower in towers)
    found = []
    for size in (1, 3):
        batch = made_batch(built, plan.label, batch_size=size)
        step = count_step(module, batch, autocast=False, accumulate=1, clips=False)
        assert not step.waits
        found.append([kernel for kernel in step.kernels if kernel.name.startswith("_varlen_attn")])
    assert len(found[0]) == len(found[1]) == 2 * layers
    for one, three in zip(*found, strict=True):
        assert three.flops == 3 * one.flops > 0


@pytest.mark.parametrize(("head", "share"), [("regression", 0), ("levels", 0.5)])
def test_counted_memory_is_what_a_real_step_keeps_and_little_more(head, share):
    overrides = [f"head={head}", f"model.recompute={share}", "trainer.precision=32", "data.batch_size=4", "modal=av"]
    plan = read_plan(compose(["model=videollama2_tiny", *overrides]))
    counter = StepCounter(plan, build_model(plan, load=False))
    built = build_model(plan)
    module = build_module(plan, built).train()
    inputs = made_batch(built, plan.label, batch_size=4).inputs
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    kept = {storage.data_ptr(): storage for storage in (t.untyped_storage() for t in inputs.tensors.values())}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.head.loss(module.model(inputs), torch.full((4,), 0.5), module.criterion)
    expected = sum(storage.nbytes() for start, storage in kept.items() if start not in weights)
    assert expected < counter.memory(counter.step()).activations < 1.1 * expected


def test_a_process_of_several_holds_its_shards_and_what_a_step_gathers():
    """By hand: 40 bytes of layers 8, 20 and 12, of which the largest stands twice; the frozen one has no gradients."""
    layers = [torch.nn.Linear(size, 1, bias=False) for size in (2, 5, 3)]
    layers[1].requires_grad_(False)
    whole = CountedMemory(weights=100, gradients=60, optimizer=120, activations=7)
    held = held_by_one(whole, layers, num_processes=4)
    assert held == CountedMemory(weights=25 + 60 + 40, gradients=15 + (60 - 20) + 24, optimizer=30, activations=7)


def test_recomputed_layers_are_chosen_for_the_card(monkeypatch):
    plan = read_plan(compose(["model=videollama2_tiny", "model.recompute=auto", *TINY]))
    counter = StepCounter(plan, build_model(plan, load=False))
    none, one = map(counter.peak, (0, 1))
    assert none > one
    monkeypatch.setitem(CARDS, "L4", replace(CARDS["L4"], memory=one / (1 - RESERVE)))
    report = count_training(plan, card_name="L4")
    assert report.memory.peak == one
    assert report.notes[0].startswith("model.recompute=auto: 1 of 2 layers of the language model are computed again")
    assert counter.forward().held < one - counter.weights


def test_four_bit_weights_are_counted_as_such_without_bitsandbytes(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    plans = [
        read_plan(compose(["model=videollama2_tiny", "model.dtype=bfloat16", *TINY, f"lora={lora}", "lora.rank=4"]))
        for lora in ("r8", "qlora")
    ]
    whole, packed = (count_training(plan, card_name="H200") for plan in plans)
    layers = build_model(plans[0], load=False).model.blocks()["language"]
    num_values = sum(one.weight.numel() for layer in layers for one in layer.modules() if isinstance(one, nn.Linear))
    bytes_each = 1 / 2 + 1 / 64 + 4 / (64 * 256)
    assert whole.memory.weights - packed.memory.weights == pytest.approx((2 - bytes_each) * num_values, rel=0.01)
    assert packed.memory.optimizer == whole.memory.optimizer
    assert packed.flops_per_sample == whole.flops_per_sample
    unpacked = [by_phase(packed, phase)["language"].kernels - by_phase(whole, phase)["language"].kernels for phase in
                ("forward", "backward")]  # fmt: skip
    assert min(unpacked) >= 7 * len(layers)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--card=H100"], "--card belongs to 'count'; 'train' measures on the machine's own card."),
        (["train", "--score"], "--score belongs to 'count'; 'score' measures scoring."),
        (["count", "--plot=x.png"], "--plot: 'count' draws nothing; --json FILE writes all of its figures."),
        (["count", "--card=H300"], "H200"),
        (["count", "--videos=x"], "--videos belongs to 'data'"),
    ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "memory"), [("videollama2_av_lora_24gb", 24e9), ("videollama2_av_qlora_16gb", 16e9)]
)
def test_recipes_for_small_cards_leave_room_on_them(recipe, memory):
    plan = read_plan(compose([f"experiment={recipe}"]))
    counter = StepCounter(plan, build_model(plan, load=False))
    assert counter.memory(counter.step()).peak < room_of(memory)


def test_text_is_shortened_but_not_what_is_learned_nor_places_for_media():
    turns = (Turn(role="user", text=f"abcdefgh{MEDIA}abcd"), Turn(role="assistant", text=" good", learn=True))
    assert [turn.text for turn in shortened(turns)] == [f"ae{MEDIA}a", " good"]


def test_a_made_clip_is_what_the_model_asks_for():
    built = build_model(read_plan(compose([])), load=False)
    spec = built.model.preparer.clip
    clip = made_clip(spec)
    assert len(clip.frames_FHWC) == spec.frames.sampling.usual_count
    assert clip.frames_FHWC.shape[1:3] == spec.frames.resize.target_hw(854, 480)
    assert clip.frames_FHWC.dtype == torch.uint8
