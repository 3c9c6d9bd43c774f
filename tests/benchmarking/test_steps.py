"""`benchmark train` and `score`: what is timed, what is counted, and what is told where something is missing."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from evqa import benchmark
from evqa.benchmarking import card_state
from evqa.benchmarking.card_state import CardWatch, read_states
from evqa.benchmarking.clock import DeviceClock
from evqa.benchmarking.count import count_training
from evqa.benchmarking.made_batch import made_batch
from evqa.benchmarking.measure import Spread
from evqa.benchmarking.part_times import BETWEEN, HEAD, PartTimes
from evqa.benchmarking.step_report import Arithmetic, PartTime, StepRow, StepTimes
from evqa.benchmarking.steps import count_or_tell, until_out_of_memory
from evqa.benchmarking.trace import busy_share
from evqa.benchmarking.work import scoring_work, training_work
from evqa.errors import RunError
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from tests.models.toys import configure

CPU = torch.device("cpu")


def times(**more):
    values = {
        **{"batch_size": 4, "num_steps": 2, "step_ms": Spread.of([1.0]), "wait_share": 0.0, "samples_per_second": 8.0},
        **{"tokens_per_second": 1.0, "peak_bytes": 1.0, "reserved_bytes": None, "busy_share": None},
    }
    return StepTimes(**values | more)


@pytest.mark.parametrize(
    ("name", "modal", "built"),
    [
        ("videollama2", "av", {"vision", "connector", "audio", "audio_connector", "language"}),
        ("qwen2_5_omni", "av", {"vision", "connector", "audio", "audio_connector", "language"}),
        ("vqa2", "v", {"vision", "connector", "motion", "motion_connector", "language"}),
    ],
)
def test_every_part_has_its_time_forward_and_trained_ones_backward(twin, name, modal, built):
    plan = read_plan(configure(name, modal, "regression", "r8", arguments=twin(name) | {"recompute": 1}))
    model = build_model(plan)
    module, batch = build_module(plan, model), made_batch(model, plan.label, batch_size=2)
    watched = PartTimes(DeviceClock(CPU))
    with watched.of(module.model):
        for _ in range(2):
            watched.begin()
            loss = module.head.loss(module.model(batch.inputs), batch.label_B, module.criterion)
            watched.mark("backward", HEAD)
            loss.backward()
            watched.mark("", "optimizer")
            watched.end()
    found = watched.times()
    forward, backward = ({p.part for p in found if p.phase == phase} for phase in ("forward", "backward"))
    assert forward == built | {HEAD, "other"}
    assert {HEAD, "language", "connector"} <= backward <= built | {HEAD}
    assert not {"vision", "audio", "motion"} & backward
    assert all(part.ms >= 0 for part in found)
    assert found[-1].part == BETWEEN


def test_arithmetic_of_a_step_is_that_of_count_with_recomputation_apart(twin):
    arguments = twin("videollama2") | {"recompute": 1}
    plan = read_plan(configure("videollama2", "av", "regression", "r8", arguments=arguments))
    batch = made_batch(build_model(plan), plan.label, batch_size=plan.data.batches.batch_size)
    work, counted = training_work(plan, batch, 2), count_training(plan, card_name="H100")
    assert (work.model, work.done) == (counted.flops_per_sample, counted.all_flops_per_sample)
    assert work.done > work.model
    scoring = scoring_work(plan, batch)
    assert scoring.model == scoring.done < work.model
    row = StepRow.of(times(samples_per_second=8.0), work, peak_flops=1e12)
    assert row.mfu == pytest.approx(8 * work.model / 1e12)
    assert row.hfu == pytest.approx(8 * work.done / 1e12)


def test_a_model_that_cannot_be_counted_has_no_utilisation_but_a_reason():
    def refuse(plan, batch):
        raise RunError("it asks the GPU for numbers")

    notes = []
    assert count_or_tell(refuse, None, None, notes) is None
    assert notes == ["arithmetic: it asks the GPU for numbers"]
    row = StepRow.of(times(), None, peak_flops=1e12)
    assert row.mfu is row.hfu is None


def test_a_sweep_ends_with_the_first_batch_size_that_does_not_fit():
    tried = []

    def measure(batch_size):
        tried.append(batch_size)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return batch_size

    notes = []
    assert list(until_out_of_memory(measure, [1, 2, 4, 8, 16], notes)) == [1, 2]
    assert tried == [1, 2, 4]
    assert notes == ["batch size 4: out of memory; 8, 16 not tried"]


def test_a_sweep_prints_a_column_a_size_and_writes_a_trace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = ["data.num_train=16", "data.num_val=16", "data.workers=1", "trainer.accumulate=2"]
    files = ["--json=s.json", "--trace=t.json", "--plot=s.png"]
    benchmark.main(["train", *data, "--batches=1,2", "--steps=1", "--warmup=1", *files])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Where the time of a step of 2 goes, ms" in printed
    assert "clocks and power not known" in printed
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert [row["times"]["batch_size"] for row in rows] == [1, 2]
    assert [row["times"]["num_steps"] for row in rows] == [2, 2]  # whole windows of `accumulate`
    parts = {(part["phase"], part["part"]) for part in rows[0]["times"]["parts"]}
    assert {("forward", "language"), ("backward", "language"), ("", "optimizer"), ("", BETWEEN)} <= parts
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


def test_the_share_in_which_kernels_run_counts_each_moment_once():
    def event(start, end, kind=DeviceType.CUDA, *, note=False):
        return SimpleNamespace(
            device_type=kind, is_user_annotation=note, time_range=SimpleNamespace(start=start, end=end)
        )

    kernels = [event(0, 4), event(2, 3), event(8, 10), event(0, 99, DeviceType.CPU), event(0, 50, note=True)]
    assert busy_share(kernels) == pytest.approx(0.6)
    assert busy_share([]) is None


def test_clocks_and_power_are_read_while_it_runs_and_not_known_without_the_program(tmp_path, monkeypatch):
    monkeypatch.setattr(card_state, "_uuid", lambda device: "GPU-1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with CardWatch(torch.device("cuda")) as none:
        pass
    assert none.state == {}
    assert card_state._ask(torch.device("cuda")) == ["not known"] * 3
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 1980, 2619, 650.5, 61\necho 1755, 2619, [N/A], 63\nexec /bin/sleep 9\n")
    program.chmod(0o755)
    with CardWatch(torch.device("cuda")) as watch:
        while os.fstat(watch._file.fileno()).st_size < 40:
            time.sleep(0.01)
    assert watch.state["SM clock, MHz"] == Spread(1867.5, 1755.0, 1980.0)
    assert watch.state["power, W"].median == 650.5
    assert read_states("1980, 26") == {}


def test_parts_are_written_with_their_share():
    from evqa.benchmarking.show_steps import part_rows

    parts = [
        PartTime(phase="forward", part="audio_connector", ms=1.0),
        PartTime(phase="backward", part="audio_connector", ms=2.0),
        PartTime(phase="", part="optimizer", ms=1.0),
    ]
    assert part_rows(parts) == [
        ("audio connector", "1.00", "2.00", "75.0%"),
        ("optimizer", "1.00", "-", "25.0%"),
    ]
    assert Arithmetic(model=1.0, done=2.0).done == 2.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--batches=1,x"], "'1,x': give whole numbers from 1, such as 1,2,4,8"),
        (["count", "--batches=1,2"], "--batches belongs to 'train' and 'score'."),
        (["train", "--trace=/no/where/x.json"], "/no/where/x.json: there is no folder /no/where."),
    ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err
