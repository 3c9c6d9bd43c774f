"""Samples, batches and their order, worked out by hand; no workers."""

import hashlib
import math
import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evqa.errors import MediaError
from evqa.heads.text import NumberWording
from evqa.models.base import Preparer
from evqa.training.batches import BatchLoader, Collate, Sample, Samples
from evqa.training.order import Order, seed_of
from evqa.types import Clip, Failure, Inputs, LabelScale, Record, Turn
from tests.asking import PROMPT

FRAMES, SECONDS, WAVEFORM, FBANK = (
    torch.zeros(1, 2, 2, 3, dtype=torch.uint8),
    (0.0,),
    torch.zeros(2800),  # just enough sound to be heard alone
    torch.zeros(16, 3),
)
WHOLE = Clip(frames_FHWC=FRAMES, seconds_F=SECONDS, waveform_S=WAVEFORM, fbank_RM=FBANK, missing=("title",))


NOTES = ("title", "a title was cut")


class Given(Preparer):
    """Hands on what it was given."""

    def prepare(self, turns, clips):
        return {"turns": turns, "clip": clips[0], "notes": ("a title was cut",)}

    def collate(self, items):
        return Inputs(streams={"clips": tuple(item["clip"] for item in items)})


def samples(clip=WHOLE, *, labels=(3.0,), **more):
    def read(path):
        if path.name == "broken.mp4":
            raise MediaError(path, "is empty")
        return clip

    records = tuple(
        Record(id=f"v{at}", paths=(Path("broken.mp4" if label == "broken" else f"{at}.mp4"),), label=None)
        if label in ("broken", None)
        else Record(id=f"v{at}", paths=(Path(f"{at}.mp4"),), label=label)
        for at, label in enumerate(labels)
    )
    fields = {
        "records": records,
        "read": read,
        "preparer": Given(),
        "wording": NumberWording("P ", 100.0, 0, ""),
        "prompt": PROMPT,
        "scale": LabelScale(name="MOS", range=(1.0, 5.0)),
    }
    return Samples(**{**fields, **more})


def test_a_seed_is_the_hash_of_its_words():
    digest = hashlib.sha256(b"order/5/2").digest()
    assert seed_of("order", 5, 2) == int.from_bytes(digest[:8], "little") // 2 < 2**63
    assert seed_of("a", "b") != seed_of("ab")
    assert seed_of("\udce9") == int.from_bytes(hashlib.sha256(b"\xe9").digest()[:8], "little") // 2  # a file's name


def test_a_sample_has_its_label_in_both_scales_and_what_its_file_lacks():
    data = samples(labels=(3.0, None, 5.0))
    assert len(data) == 3
    sample = data[(0, 0)]
    assert (sample.id, sample.label, sample.unit, sample.missing, sample.failure) == ("v0", 3.0, 0.5, NOTES, None)
    assert sample.inputs["turns"][0] == PROMPT.turns(data.records[0], [])[0]
    assert data[(7, 2)].unit == 1.0
    unlabelled = data[(0, 1)]
    assert math.isnan(unlabelled.label)
    assert math.isnan(unlabelled.unit)


@pytest.mark.parametrize(("learn", "target"), [(True, "50"), (False, None)])
def test_the_answer_is_part_of_the_input_where_it_is_learned(learn, target):
    _, prefix, *targets = samples(learn=learn)[(0, 0)].inputs["turns"]
    assert prefix == Turn(role="assistant", text="P ")
    assert targets == ([] if target is None else [Turn(role="assistant", text=target, learn=True)])


def test_a_file_that_cannot_be_read_is_a_sample_with_its_reason():
    sample = samples(labels=("broken",))[(0, 0)]
    assert replace(sample, label=0, unit=0) == Sample(
        id="v0", label=0, unit=0, failure=Failure(id="v0", reason="is empty")
    )


BOTH = {"frames_FHWC", "seconds_F", "waveform_S", "fbank_RM"}


def left(clip):
    return {name for name in BOTH if getattr(clip, name) is not None}


@pytest.mark.parametrize("lacks", [{"frames_FHWC", "seconds_F"}, {"waveform_S", "fbank_RM"}])
def test_a_clip_of_one_modality_keeps_it_whatever_the_dropout(lacks):
    data = samples(replace(WHOLE, **dict.fromkeys(lacks)), modal_dropout=1.0)
    for epoch in range(10):
        assert left(data[(epoch, 0)].inputs["clip"]) == BOTH - lacks


@pytest.mark.parametrize("lacks", [set(), {"waveform_S"}, {"fbank_RM"}])
def test_certain_dropout_leaves_exactly_one_whole_modality(lacks):
    data = samples(replace(WHOLE, **dict.fromkeys(lacks)), modal_dropout=1.0)
    drawn = [frozenset(left(data[(epoch, 0)].inputs["clip"])) for epoch in range(20)]
    seen, heard = {"frames_FHWC", "seconds_F"}, {"waveform_S", "fbank_RM"} - lacks
    assert set(drawn) == {frozenset(seen), frozenset(heard)}


@pytest.mark.parametrize(
    "short", [{"fbank_RM": torch.zeros(15, 3)}, {"fbank_RM": None, "waveform_S": torch.zeros(2799)}]
)
def test_the_picture_stays_where_there_is_too_little_sound_to_be_heard_alone(short):
    clip = replace(WHOLE, **short)
    data = samples(clip, modal_dropout=1.0)
    assert all(left(data[(epoch, 0)].inputs["clip"]) == left(clip) for epoch in range(10))


def test_dropout_is_drawn_from_seed_epoch_and_id():
    data = samples(labels=(3.0, 3.0), modal_dropout=0.5, seed=4)
    for place in ((0, 0), (0, 1), (1, 0), (2, 1), (3, 0), (4, 1)):
        draw = random.Random(seed_of("modal", 4, place[0], f"v{place[1]}"))
        dropped = draw.random() < 0.5
        expected = BOTH
        if dropped:
            expected = {"waveform_S", "fbank_RM"} if draw.random() < 0.5 else {"frames_FHWC", "seconds_F"}
        assert left(data[place].inputs["clip"]) == expected
    assert all(left(samples()[(epoch, 0)].inputs["clip"]) == BOTH for epoch in range(5))


def test_a_batch_holds_what_could_be_read_and_every_failure():
    data = samples(labels=(3.0, "broken", 5.0))
    batch = Collate(data.preparer)([data[(0, index)] for index in range(3)])
    assert (batch.ids, batch.labels, batch.missing) == (("v0", "v2"), (3.0, 5.0), (NOTES, NOTES))
    assert batch.label_B.tolist() == [0.5, 1.0]
    assert batch.label_B.dtype == torch.float32
    assert batch.failures == (Failure(id="v1", reason="is empty"),)
    assert len(batch.inputs.streams["clips"]) == 2
    nothing = Collate(data.preparer)([data[(0, 1)]])
    assert (nothing.ids, nothing.inputs, len(nothing.failures)) == ((), Inputs(), 1)


def flat(batches):
    return [index for batch in batches for _, index in batch]


def test_records_in_their_own_order_are_dealt_to_the_ranks_in_turn():
    orders = [Order(num_records=7, batch_size=2, shuffle=False, rank=rank, world=3) for rank in range(3)]
    assert [order.batches(4) for order in orders] == [
        [[(4, 0), (4, 3)], [(4, 6)]],
        [[(4, 1), (4, 4)]],
        [[(4, 2), (4, 5)]],
    ]
    assert [len(order) for order in orders] == [2, 1, 1]


def test_shuffled_records_are_one_permutation_dealt_to_the_ranks():
    draw = random.Random(seed_of("order", 9, 2))
    permutation = draw.sample(range(11), 11)
    orders = [Order(num_records=11, batch_size=3, shuffle=True, seed=9, rank=rank, world=2) for rank in (0, 1)]
    for rank, order in enumerate(orders):
        batches = order.batches(2)
        assert flat(batches) == permutation[rank::2][:5]
        assert [len(batch) for batch in batches] == [3, 2]
        assert len(order) == 2
        assert {epoch for batch in batches for epoch, _ in batch} == {2}


def test_defaults_are_one_rank_and_seed_0():
    assert Order(num_records=5, batch_size=2, shuffle=True).batches(0) == Order(
        num_records=5, batch_size=2, shuffle=True, seed=0, rank=0, world=1
    ).batches(0)


@pytest.mark.parametrize(("num_records", "batch_size"), [(250, 2), (205, 2), (201, 2), (9, 2), (100, 1)])
def test_records_of_like_cost_are_sorted_within_windows_of_fifty_batches(num_records, batch_size):
    costs = tuple(float(index % 13) for index in range(num_records))
    order = Order(num_records=num_records, batch_size=batch_size, shuffle=True, seed=3, costs=costs)
    permutation = random.Random(seed_of("order", 3, 1)).sample(range(num_records), num_records)
    expected = []
    for at in range(0, num_records, 50 * batch_size):
        window = sorted(permutation[at : at + 50 * batch_size], key=lambda index: (costs[index], index))
        expected += [tuple(window[i : i + batch_size]) for i in range(0, len(window), batch_size)]
    batches = [tuple(index for _, index in batch) for batch in order.batches(1)]
    assert sorted(batches) == sorted(expected)
    assert batches != expected
    if num_records % batch_size:
        assert batches[-1] == expected[-1]  # a short batch comes last
    else:
        shuffled = [order.batches(epoch)[-1] for epoch in range(6)]
        assert len({tuple(index for _, index in batch) for batch in shuffled}) > 1


def loader(num_records=7, *, workers=0, **more):
    data = samples(labels=(3.0,) * num_records, **more)
    order = Order(num_records=num_records, batch_size=2, shuffle=False)
    return BatchLoader(data, order, Collate(data.preparer), workers=workers)


def test_as_many_threads_load_as_were_asked_for():
    threads = set()

    def read(path):
        threads.add(threading.current_thread().name)
        time.sleep(0.01)
        return WHOLE

    assert len(list(loader(workers=1, read=read))) == 4
    assert len(threads) == 1
    assert next(iter(threads)).startswith("load")


def test_the_place_in_an_epoch_counts_batches_and_a_whole_epoch_is_none():
    one = loader()
    assert len(one) == 4
    stream = iter(one)
    for done in (1, 2, 3):
        next(stream)
        assert one.state_dict() == {"done": done}
    next(stream)
    assert one.state_dict() == {"done": 0}
    assert list(stream) == []


def test_a_restored_place_is_used_once():
    one = loader()
    one.load_state_dict({"done": 3})
    assert [batch.ids for batch in one] == [("v6",)]
    assert len(list(one)) == 4
    one.set_epoch(5)
    assert one.epoch == 5


def test_the_wait_for_data_is_summed_within_an_epoch(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("evqa.training.batches.time.perf_counter", lambda: float(next(ticks)))
    one = loader()
    list(one)
    assert one.waited_s == 5.0  # four batches and the question whether there is another
    list(one)
    assert one.waited_s == 5.0
