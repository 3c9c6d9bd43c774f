import dataclasses
import itertools
import random
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch

from evqa.errors import MediaError
from evqa.heads.text import NumberWording
from evqa.media import decoding
from evqa.media.cache import CachedReader, CacheSettings
from evqa.media.clip import ClipSpec
from evqa.models.base import Preparer
from evqa.prompts.prompt import Prompt
from evqa.training.batches import BatchLoader, Collate, Samples
from evqa.training.order import Order
from evqa.types import MEDIA, Clip, Inputs, LabelScale, Record
from tests.media import deadly


class Echo(Preparer):
    """Gives back what it was given, as tensors."""

    def prepare(self, turns, clips):
        (clip,) = clips
        return {
            "number": torch.tensor(int(turns[0].text.removesuffix(MEDIA))),
            "frames": torch.tensor(clip.frames_FHWC is not None),
            "sound": torch.tensor(clip.waveform_S is not None),
        }

    def collate(self, items):
        return Inputs(tensors={name: torch.stack([item[name] for item in items]) for name in items[0]})


def read(path: Path) -> Clip:
    if path.name == "7.mp4":
        raise MediaError(path, "is empty")
    return Clip(frames_FHWC=torch.zeros(1, 2, 2, 3, dtype=torch.uint8), waveform_S=torch.zeros(2800), missing=("a",))


def samples(num_records=20, **more):
    records = tuple(
        Record(id=str(i), paths=(Path(f"{i}.mp4"),), texts={"title": str(i)}, label=20.0 + i)
        for i in range(num_records)
    )
    return Samples(
        records=records,
        read=read,
        preparer=Echo(),
        wording=NumberWording("", 100.0, 0, ""),
        prompt=Prompt(question="{title}<media>").fitted(LabelScale()),
        scale=LabelScale(name="MOS", range=(20.0, 40.0)),
        **more,
    )


def loader(*, workers=0, shuffle=True, **order):
    data = samples()
    order = Order(num_records=len(data), batch_size=3, shuffle=shuffle, seed=5, **order)
    return BatchLoader(data, order, Collate(data.preparer), workers=workers)


def ids(batches):
    return [batch.ids for batch in batches]


def test_a_file_that_cannot_be_read_is_a_failure_and_never_another_item():
    batches = list(loader(shuffle=False))
    failures = [failure for batch in batches for failure in batch.failures]
    assert [(failure.id, failure.reason) for failure in failures] == [("7", "is empty")]
    assert list(itertools.chain(*ids(batches))) == [str(i) for i in range(20) if i != 7]
    assert ids(batches)[2] == ("6", "8")


SOUND = torch.zeros(16_000)
NOTHING_LEFT = {
    "no sound": Clip(missing=("no audio track",)),
    "no sample of sound": Clip(waveform_S=SOUND[:0], missing=("no audio track",)),
    "less sound than a token": Clip(waveform_S=SOUND[:2000], missing=("no audio track",)),
    "too few rows": Clip(fbank_RM=torch.zeros(15, 128), missing=("no audio track",)),
}


@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_an_item_without_anything_that_was_asked_for_is_a_failure(case):
    data = dataclasses.replace(samples(1), read=lambda path: NOTHING_LEFT[case])
    failure = data[(0, 0)].failure
    assert str(failure) == "Id 0: holds nothing of what was asked for (no audio track)"


@pytest.mark.parametrize(
    "left", [{"frames_FHWC": torch.zeros(1, 2, 2, 3)}, {"waveform_S": SOUND}, {"fbank_RM": torch.zeros(16, 128)}]
)
def test_an_item_that_lacks_one_of_two_is_served_and_says_so(left):
    data = dataclasses.replace(samples(1), read=lambda path: Clip(**left, missing=("the other one",)))
    assert data[(0, 0)].failure is None
    assert data[(0, 0)].missing == ("the other one",)


class Silent(Echo):
    """Takes everything."""

    def prepare(self, turns, clips):
        return {}


def test_a_text_that_cannot_be_worded_is_a_failure_and_one_that_does_not_fit_its_file_is_told():
    def sample(stalling):
        record = Record(id="0", paths=(Path("0.mp4"),), texts={"stalling": stalling})
        prompt = Prompt(question="<media>{stalling}", stalling="sums").fitted(LabelScale())
        clip = Clip(waveform_S=SOUND, num_frames=3)
        data = dataclasses.replace(samples(1), records=(record,), prompt=prompt, read=lambda path: clip)
        return dataclasses.replace(data, preparer=Silent())[(0, 0)]

    assert str(sample("0120").failure).startswith("Id 0: stalling='0120': write 0 or 1 for every frame")
    assert sample("0110").missing == ("stalling is of 4 frames, and the file has 3",)
    assert sample("1+2").missing == ()


def test_labels_are_exact_in_their_own_scale_and_0_to_1_for_the_loss():
    batch = next(iter(loader(shuffle=False)))
    assert batch.labels == (20.0, 21.0, 22.0)
    torch.testing.assert_close(batch.label_B, torch.tensor([0.0, 0.05, 0.1]))
    assert batch.missing == (("a",),) * 3


@pytest.mark.parametrize("workers", [1, 3])
def test_the_order_does_not_depend_on_the_workers(workers):
    plain, other = loader(), loader(workers=workers)
    for epoch in (0, 1):
        plain.set_epoch(epoch)
        other.set_epoch(epoch)
        assert ids(plain) == ids(other)


def test_every_epoch_has_another_order_and_the_same_items():
    order = Order(num_records=20, batch_size=3, shuffle=True, seed=1)
    flat = [[index for batch in order.batches(epoch) for _, index in batch] for epoch in (0, 1)]
    assert flat[0] != flat[1]
    assert sorted(flat[0]) == sorted(flat[1]) == list(range(20))


def test_ranks_share_the_records_without_overlap():
    orders = [Order(num_records=21, batch_size=3, shuffle=True, rank=rank, world=2) for rank in (0, 1)]
    parts = [{index for batch in order.batches(0) for _, index in batch} for order in orders]
    assert len(parts[0]) == len(parts[1]) == 10
    assert not parts[0] & parts[1]
    scored = [Order(num_records=21, batch_size=3, shuffle=False, rank=rank, world=2) for rank in (0, 1)]
    assert sum(len(batch) for order in scored for batch in order.batches(0)) == 21
    assert [len(order) for order in scored] == [len(order.batches(0)) for order in scored] == [4, 4]


@pytest.mark.parametrize("place", [0, 1, 4, 6])
def test_a_resumed_loader_gives_exactly_the_rest_of_the_epoch(place):
    first = loader(workers=2)
    first.set_epoch(3)
    stream = iter(first)
    seen = [next(stream).ids for _ in range(place)]
    state = first.state_dict()
    stream.close()
    second = loader()
    second.load_state_dict(state)
    second.set_epoch(3)
    whole = loader()
    whole.set_epoch(3)
    assert seen + ids(second) == ids(whole)
    assert len(ids(second)) == len(whole)  # only the resumed epoch is cut


def test_leaving_a_threaded_epoch_early_ends_its_threads():
    before = set(threading.enumerate())
    stream = iter(loader(workers=2))
    next(stream)
    mine = set(threading.enumerate()) - before
    assert any(thread.name.startswith("load") for thread in mine)
    stream.close()
    assert not any(thread.is_alive() for thread in mine)


def test_records_of_like_cost_share_batches():
    costs = tuple(float(i % 7) for i in range(60))
    order = Order(num_records=60, batch_size=4, shuffle=True, costs=costs)
    batches = [[costs[index] for _, index in batch] for batch in order.batches(0)]
    assert sorted(index for batch in order.batches(0) for _, index in batch) == list(range(60))
    assert sum(max(batch) - min(batch) for batch in batches) <= 10
    assert batches != sorted(batches)


def test_modal_dropout_follows_the_place_and_never_leaves_nothing():
    data = samples(modal_dropout=0.5)
    drawn = [data[(epoch, i)].inputs for epoch in range(10) for i in range(7)]
    again = [data[(epoch, i)].inputs for epoch in range(10) for i in range(7)]
    seen_heard = [(bool(d["frames"]), bool(d["sound"])) for d in drawn]
    assert seen_heard == [(bool(d["frames"]), bool(d["sound"])) for d in again]
    assert set(seen_heard) == {(True, True), (True, False), (False, True)}
    assert 20 < sum(pair != (True, True) for pair in seen_heard) < 50


def test_leaving_an_epoch_early_does_not_wait_for_a_file_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_decode", deadly.deadly_decode)
    for name in ("a", "hang"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    records = tuple(Record(id=str(at), paths=(tmp_path / f"{name}.mp4",)) for at, name in enumerate(["a", "hang"] * 2))
    data = dataclasses.replace(samples(), records=records, read=CachedReader(CacheSettings(folder=None), ClipSpec()))
    order = Order(num_records=4, batch_size=1, shuffle=False)
    stream = iter(BatchLoader(data, order, Collate(data.preparer), workers=1))
    assert next(stream).failures[0].id == "0"
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 60  # the hanging file alone would take 90 s


QUESTIONS = (3, 1, 4, 2, 5, 1, 3, 2)  # about each file; the last file cannot be read


class Counting:
    """Reads slowly, counts, and knows which clips still live."""

    def __init__(self):
        self.paths, self.clips, self.most = [], weakref.WeakSet(), 0

    def __call__(self, path):
        self.paths.append(path.stem)
        time.sleep(0.002)
        clip = Clip(frames_FHWC=torch.zeros(1, 2, 2, 3, dtype=torch.uint8), waveform_S=torch.zeros(2800))
        if path.stem == "7":
            raise MediaError(path, "is empty")
        self.clips.add(clip)
        self.most = max(self.most, len(self.clips))
        return clip


def asked(order=None, *, read=None):
    """Samples of several questions about each file, mixed, with their files."""
    numbers = order or random.Random(0).sample(
        [file for file, count in enumerate(QUESTIONS) for _ in range(count)], sum(QUESTIONS)
    )
    records = tuple(
        Record(id=str(i), paths=(Path(f"{file}.mp4"),), texts={"title": str(i)}, label=20.0)
        for i, file in enumerate(numbers)
    )
    return dataclasses.replace(samples(), records=records, read=read or Counting())


def serve(data, *, workers=0, batch_size=2, epoch=0, start=0, **more):
    files = tuple(record.paths for record in data.records)
    order = Order(num_records=len(data), batch_size=batch_size, **{"shuffle": True, "files": files} | more)
    loader = BatchLoader(data, order, Collate(data.preparer), workers=workers)
    loader.set_epoch(epoch)
    loader.load_state_dict({"done": start})
    return list(loader)


@pytest.mark.parametrize("workers", [0, 1, 5])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_file_is_read_once_an_epoch_however_many_questions_there_are(workers, batch_size):
    data = asked()
    batches = serve(data, workers=workers, batch_size=batch_size)
    assert sorted(data.read.paths) == [str(file) for file in range(len(QUESTIONS))]
    done = [*itertools.chain(*ids(batches)), *(failure.id for batch in batches for failure in batch.failures)]
    assert sorted(done, key=int) == [record.id for record in data.records]
    assert ids(batches) == ids(serve(asked(), batch_size=batch_size))
    assert not data.read.clips, "nothing is kept"
    assert data.read.most <= 2 * workers + 2


def test_a_resumed_epoch_goes_on_in_the_middle_of_a_file_and_reads_it_once_again():
    whole = serve(asked(), epoch=4)
    for start in range(1, len(whole)):
        data = asked()
        assert ids(serve(data, epoch=4, start=start, workers=2)) == ids(whole)[start:]
        assert len(set(data.read.paths)) == len(data.read.paths)


def test_files_to_which_the_order_comes_back_are_read_anew_and_not_kept():
    data = asked([0, 0, 1, 0, 2, 2])
    serve(data, shuffle=False)
    assert data.read.paths == ["0", "0", "1", "0", "2"]
    assert not data.read.clips


def test_questions_about_a_file_follow_one_another_in_an_order_that_differs_between_epochs_and_ranks():
    files = tuple(record.paths for record in asked().records)
    flat = []
    orders = [
        Order(num_records=len(files), batch_size=2, shuffle=True, files=files, rank=rank, world=2) for rank in (0, 1)
    ]
    for epoch in range(4):
        parts = [[index for batch in order.batches(epoch) for _, index in batch] for order in orders]
        assert [len(part) for part in parts] == [len(files) // 2] * 2
        flat.append(parts[0] + parts[1])
        stretches = [file for file, _ in itertools.groupby(files[index] for index in flat[-1])]
        assert len(stretches) == len(set(stretches))
        assert len(set(flat[-1])) == len(flat[-1])
    assert len({tuple(order) for order in flat}) == 4
    assert len({tuple(index for index in order if files[index] == files[flat[0][0]]) for order in flat}) > 1
    own = tuple((Path(str(index)),) for index in range(20))
    plain = [Order(num_records=20, batch_size=3, shuffle=True, rank=1, world=2, files=one) for one in (own, None)]
    assert plain[0].batches(2) == plain[1].batches(2), "where every record has its own file, nothing changes"
