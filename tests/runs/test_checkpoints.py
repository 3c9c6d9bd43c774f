"""Checkpoints that are damaged, foreign or hostile: a sentence each, no code, no wrong weights; and honest readers."""

import io
import json
import os
import random
import re
import resource
import shutil
import threading
import zipfile

import pytest
import torch

from evqa import eval as evaluation
from evqa.errors import CheckpointError, FileError, MediaError, RunError
from evqa.files.content import content_hash
from evqa.media.cache import CachedReader
from evqa.scoring.places import load_run
from evqa.training.build import build_module
from evqa.training.callbacks.checkpoint_files import SIDE, read_checkpoint, write_checkpoint
from evqa.training.model_with_head import METADATA
from evqa.training.module import ScoreModule
from evqa.types import Failure


class Payload:
    """An object whose unpickling would run code."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def packed(data):
    """The same archive, compressed: what is small may declare to be huge."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


CODE = object()  # stands for the payload
KINDS = {  # name: (state, whole file) -> bytes, and what is said
    "empty": (lambda state, data: b"", "is empty"),
    "cut": (lambda state, data: data[: len(data) // 2], "is damaged, cut short, or no checkpoint"),
    "cut at the end": (lambda state, data: data[:-1], "is damaged, cut short, or no checkpoint"),
    "longer": (lambda state, data: data + b"\0", "is damaged, cut short, or no checkpoint"),
    "a text": (lambda state, data: b"weights\n" * 99, "is damaged, cut short, or no checkpoint"),
    "a flipped byte": (lambda state, data: flipped(data, len(data) // 3), "is damaged (its checksum is wrong)"),
    "code": (lambda state, data: saved({**state, "x": CODE}), "holds more than tensors and plain values"),
    "old code": (
        lambda state, data: saved({**state, "x": CODE}, _use_new_zipfile_serialization=False),
        "is damaged, cut short, or no checkpoint",
    ),
    "a list": (lambda state, data: saved([1, 2]), "is no checkpoint of evqa: it holds a list"),
    "bare weights": (lambda state, data: saved(state["state_dict"]), "is no checkpoint of evqa: it lacks state_dict"),
    "no weights": (lambda state, data: saved(without(state, "state_dict")), "it lacks state_dict"),
    "no settings": (lambda state, data: saved(without(state, METADATA)), f"it lacks {METADATA}"),
    "no optimizer": (lambda state, data: saved({**state, "optimizer_states": []}), "it lacks optimizer_states"),
    "no loops": (lambda state, data: saved(without(state, "loops")), "it lacks loops"),
    "weights that are none": (
        lambda state, data: saved({**state, "state_dict": {"head.weight": 1}}),
        "head.weight is not a plain tensor",
    ),
    "weights without numbers": (
        lambda state, data: saved({**state, "state_dict": {"head.weight": torch.ones(2, device="meta")}}),
        "head.weight is not a plain tensor",
    ),
    "packed": (lambda state, data: packed(data), "is packed, as no checkpoint is"),
}


def flipped(data, place, bit=1):
    changed = bytearray(data)
    changed[place] ^= bit
    return bytes(changed)


@pytest.fixture
def good(finished):
    path = finished.checkpoints / "best.ckpt"
    return read_checkpoint(path), path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_whole_checkpoint_is_a_sentence_and_runs_nothing(good, tmp_path, monkeypatch, kind):
    make, words = KINDS[kind]
    monkeypatch.setitem(globals(), "CODE", Payload(tmp_path / "ran"))
    path = tmp_path / "some.ckpt"
    path.write_bytes(make(*good))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path} ")
    assert words in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (os.mkfifo, r"is a pipe \(FIFO\), not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    ],
    ids=["nothing", "folder", "pipe", "device"],
)
def test_what_is_no_file_is_a_sentence(tmp_path, make, words):
    make(tmp_path / "some.ckpt")
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "some.ckpt")


def test_plain_torch_reads_a_checkpoint_and_so_does_any_reader_of_zip_files(finished):
    path = finished.checkpoints / "best.ckpt"
    assert torch.load(path, weights_only=True)["epoch"] == read_checkpoint(path)["epoch"]
    assert torch.load(path, weights_only=True, mmap=True)["epoch"] == read_checkpoint(path)["epoch"]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("version", ["now", "with a side file", "without any checksum"])
def test_no_changed_byte_changes_what_is_loaded(good, tmp_path, version):
    """Files of older versions are still read; where the archive's own checksums are all there is, they count."""
    state, data = good
    path = tmp_path / "some.ckpt"
    if version != "now":
        data = saved(state)
    path.write_bytes(data)
    if version == "with a side file":
        (tmp_path / f"some.ckpt{SIDE}").write_text(content_hash(path) + "\n")
    assert same(read_checkpoint(path), state)
    draw = random.Random(0)
    for place in (*draw.sample(range(len(data)), 60), *range(len(data) - 120, len(data), 7)):
        path.write_bytes(flipped(data, place, 1 << draw.randrange(8)))
        try:
            loaded = read_checkpoint(path)
        except CheckpointError:
            continue
        assert version == "without any checksum", place
        assert same(loaded, state), place


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other if not isinstance(one, list) else all(map(same, one, other))


def test_who_reads_while_a_checkpoint_is_replaced_finds_a_whole_one(good, tmp_path):
    state, _ = good
    path, done = tmp_path / "last.ckpt", threading.Event()
    write_checkpoint(path, state)

    def replace():
        while not done.is_set():
            write_checkpoint(path, state)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(60):
            assert read_checkpoint(path)["epoch"] == state["epoch"]
    finally:
        done.set()
        thread.join()


def test_a_full_disk_is_a_sentence_and_the_old_checkpoint_stays(good, tmp_path):
    state, _ = good
    path, limits = tmp_path / "last.ckpt", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_checkpoint(path, state)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"last.ckpt cannot be written: file too large"):
            write_checkpoint(path, {**state, "epoch": 99})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_checkpoint(path)["epoch"] == state["epoch"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: state["state_dict"].update(more=torch.ones(1)),
            r"does not fit the model: .* unexpected \['more'",
        ),
        (lambda state: state["state_dict"].popitem(), "does not fit the model: missing "),
        (lambda state: widen(state["state_dict"]), "does not fit the model: .* other shapes "),
        (lambda state: reseed(state), "is the checkpoint of another run: seed: 7 there, 0 now"),
        (lambda state: state[METADATA].pop("config"), "does not say with which settings it was made"),
    ],
    ids=["more weights", "fewer weights", "other shapes", "another run", "no origin"],
)
def test_weights_that_do_not_belong_to_the_run_are_refused_with_status_2(copy, capsys, change, words):
    state = read_checkpoint(copy / "checkpoints" / "best.ckpt")
    change(state)
    torch.save(state, copy / "odd.ckpt")
    with pytest.raises(SystemExit) as caught:
        evaluation.main([str(copy), "--ckpt", str(copy / "odd.ckpt")])
    assert caught.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]  # behind a note on places that are only read
    assert error.startswith(f"{copy / 'odd.ckpt'}")
    assert re.search(words, error)


def widen(weights):
    name = next(iter(weights))
    weights[name] = torch.cat([weights[name], weights[name]])


def reseed(state):
    state[METADATA]["config"] = re.sub("(?m)^seed: 0$", "seed: 7", state[METADATA]["config"])


@pytest.mark.parametrize("content", [None, b"PK"], ids=["gone", "damaged"])
def test_a_best_checkpoint_that_is_lost_is_said_and_the_last_one_not_taken_for_it(copy, content):
    best = copy / "checkpoints" / "best.ckpt"
    best.unlink() if content is None else best.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best.ckpt (does not exist|is damaged).* --ckpt last scores the last"):
        load_run(copy)
    assert load_run(copy, checkpoint="last").checkpoint.name == "last.ckpt"


def test_a_run_without_any_best_checkpoint_says_so_in_the_record(copy):
    last, best = copy / "checkpoints" / "last.ckpt", copy / "checkpoints" / "best.ckpt"
    state = read_checkpoint(last)
    state["callbacks"]["Checkpoints"]["best"] = None
    torch.save(state, last)
    best.unlink()
    evaluation.main([str(copy)])
    record = json.loads((copy / "predictions" / "val-eval.json").read_text())
    assert record["checkpoint"] == "last.ckpt"
    assert "no validation had a value" in record["checkpoint_note"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state["loops"].clear(),
        lambda state: state["optimizer_states"][0]["param_groups"].pop(),
        lambda state: state["loops"]["fit_loop"].update(epoch_progress=3),
        lambda state: state["callbacks"]["Checkpoints"].pop("best"),
        lambda state: widen(state["state_dict"]),
    ],
    ids=["loops", "optimizer", "progress", "callbacks", "shapes"],
)
def test_a_checkpoint_that_cannot_be_continued_from_is_a_sentence(finished, train, tmp_path, spoil):
    place = tmp_path / finished.path.relative_to(finished.path.parents[1])
    shutil.copytree(finished.path, place)
    (place / "predictions" / "finished").unlink()
    last = place / "checkpoints" / "last.ckpt"
    state = read_checkpoint(last)
    spoil(state)
    torch.save(state, last)
    with pytest.raises(CheckpointError, match=r"last.ckpt.*Remove the file; the same command then continues"):
        train(f"run.root={tmp_path}")


def test_unreadable_items_of_an_earlier_life_stay_in_the_record(train, tmp_path, monkeypatch):
    """They can be read in the second life, which an undisturbed run would have learned only in the next epoch."""
    read, step = CachedReader.__call__, ScoreModule.training_step

    def failing(self, path):
        if "train" in str(path) or int("".join(filter(str.isdigit, path.stem))) in (1, 2):
            raise MediaError(path, "cannot be read today")
        return read(self, path)

    def stopping(self, batch, index):
        if self.trainer.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    options = (f"run.root={tmp_path}", "data.max_failures=0.5")
    with monkeypatch.context() as patched:
        patched.setattr(CachedReader, "__call__", failing)
        patched.setattr(ScoreModule, "training_step", stopping)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(*options)
    record = json.loads(train(*options).prediction("val", "json").read_text())
    assert [failure["reason"] for failure in record["train_failures"]] == ["cannot be read today"] * 2


def test_failures_of_all_processes_count_and_are_saved(finished, monkeypatch):
    run = load_run(finished.path)
    own, others = (tuple(Failure(id=f"{who}{n}", reason="broken") for n in range(2)) for who in "ab")
    module = build_module(run.plan, run.built)
    module.trainer = type("Trainer", (), {"datamodule": type("Data", (), {"splits": {"train": range(40)}})})
    module._count_failures(own)
    monkeypatch.setattr("evqa.training.module.of_all_ranks", lambda failures: (*failures, *others))
    checkpoint = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(checkpoint)
    assert [id_ for id_, _ in checkpoint[METADATA]["train_failures"]] == ["a0", "a1", "b0", "b1"]
    module.max_failures = 0.09
    with pytest.raises(RunError, match="4 of 40 training items could not be read"):
        module.on_save_checkpoint({"state_dict": dict(module.state_dict())})
