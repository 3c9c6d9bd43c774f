"""A scorer takes any items, answers in order and in bounded memory, and never stops for one bad file."""

import itertools
import os
import resource
import shutil
import threading
from pathlib import Path

import pytest
import torch

import evqa
from evqa.errors import ConfigError
from evqa.heads.regression import RegressionHead
from evqa.prompts.decoding import Decoding
from evqa.scoring.computation import Computation, find_device
from evqa.scoring.score import Meaning
from evqa.training.model_with_head import ModelWithHead
from evqa.types import LabelScale, Record


@pytest.fixture(scope="module")
def scorer(finished):
    return evqa.load(finished.path, batch_size=4, workers=2)


@pytest.fixture(scope="module")
def videos(workplace, finished):
    return sorted(next((workplace / "synthetic").glob("v*-40-16/videos")).iterdir())[:6]


def test_paths_texts_and_records_may_be_mixed_and_are_answered_in_order(scorer, videos):
    record = Record(id="mine", paths=(videos[1],), texts={"title": "A dog"}, label=0.25)
    found = list(scorer.score([videos[0], str(videos[0]), record, videos[0]]))
    assert [score.id for score in found] == [str(videos[0]), str(videos[0]), "mine", str(videos[0])]
    assert found[2].paths == (videos[1],)
    assert [score.label for score in found] == [None, None, 0.25, None]
    assert found[0].value == found[3].value == pytest.approx(found[1].value, abs=1e-6)
    assert all(score.failure is None for score in found)


def test_a_score_does_not_depend_on_its_batch_neighbours_or_on_the_number_of_workers(finished, videos):
    ways = [{"batch_size": 1, "workers": 0}, {"batch_size": 4, "workers": 3}, {"batch_size": 64, "workers": 1}]
    alone, *others = ([s.value for s in evqa.load(finished.path, **way).score(videos)] for way in ways)
    for other in others:
        assert other == pytest.approx(alone, abs=1e-5)


def test_batches_of_like_length_save_padding_and_change_neither_scores_nor_their_order(finished, videos):
    lengths = [9, 0, 7, 1, 8, 2, 6, 3, 9, 1, 4]
    records = [
        Record(id=str(number), paths=(videos[number % len(videos)],), texts={"title": "A dog. " * times})
        for number, times in enumerate(lengths)
    ]
    found, padded = {}, {}
    for bucket in (False, True):
        scorer = evqa.load(finished.path, batch_size=2, workers=1, overrides=[f"data.bucket={bucket}"])
        counts = []
        scorer.module.model.register_forward_hook(lambda *call, counts=counts: counts.append(call[2].num_padded()[0]))
        found[bucket], padded[bucket] = list(scorer.score(records)), sum(counts)
    assert [score.id for score in found[True]] == [record.id for record in records]
    assert [score.value for score in found[True]] == pytest.approx([score.value for score in found[False]], abs=1e-6)
    assert padded[True] < padded[False] / 2


def test_what_cannot_be_scored_is_a_failure_beside_the_others(scorer, videos, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    bad = ["pipe.mp4", "empty.mp4", "text.mp4", "absent.mp4", "zero\0byte.mp4", "."]
    items = [part for name in bad for part in (tmp_path / name, videos[0])]
    found = list(scorer.score(items))
    assert [score.failure is None for score in found] == [False, True] * len(bad)
    assert all((score.value is None) == (score.failure is not None) for score in found)
    reasons = [score.failure.reason for score in found[::2]]
    assert reasons[0] == "is a pipe (FIFO), not a file"
    assert reasons[3] == "cannot be opened: no such file or directory"
    assert reasons[5] == "is a folder, not a file"
    assert {score.failure.id for score in found[::2]} == {str(tmp_path / name) for name in bad}


def test_a_record_whose_files_do_not_fit_the_model_is_its_own_failure(scorer, videos):
    pair = Record(id="pair", paths=(videos[0], Path("/nowhere.mp4")))
    good, bad = scorer.score([videos[0], pair])
    assert good.failure is None
    assert bad.failure.reason == "nowhere.mp4: cannot be opened: no such file or directory"


def test_what_is_no_item_at_all_is_a_mistake_of_the_program(scorer):
    with pytest.raises(TypeError, match=r"3 \(int\) cannot be scored: give a path, or an evqa.types.Record"):
        list(scorer.score([3]))
    assert list(scorer.score([])) == []


def test_a_source_without_end_is_read_no_further_than_a_few_batches_ahead(scorer, videos):
    taken = itertools.count()

    def endless():
        for number in taken:
            yield videos[number % len(videos)]

    stream = scorer.score(endless())
    first = list(itertools.islice(stream, 40))
    assert [score.id for score in first] == [str(videos[number % len(videos)]) for number in range(40)]
    assert next(taken) <= 40 + scorer.batch_size * (2 * scorer.workers + 2)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]


def test_memory_does_not_grow_with_the_number_of_items(scorer, videos):
    for _ in scorer.score(itertools.repeat(videos[0], 50)):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(score.failure is None for score in scorer.score(itertools.repeat(videos[0], 1500)))
    assert count == 1500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB; 1,500 clips are 150 MB


def test_an_embedding_is_what_the_head_pools(scorer, videos):
    module, seen = scorer.module, []
    hook = module.head.fc1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].clone()))
    list(scorer.score(videos[:3]))
    hook.remove()
    found = list(scorer.embed([*videos[:3], "absent.mp4"]))
    vectors = torch.stack([embedding.vector_D for embedding in found[:3]])
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, torch.cat(seen))
    assert vectors.requires_grad_().sum().requires_grad  # no inference tensor
    assert found[0].vector_D.untyped_storage().nbytes() == 4 * len(found[0].vector_D)
    assert found[3].vector_D is None
    assert found[3].failure.reason == "cannot be opened: no such file or directory"


def test_a_score_says_where_it_lies_among_the_training_labels(scorer, finished, videos):
    labels = scorer.meaning.training_labels
    assert len(labels) == 40
    assert list(labels) == sorted(labels)
    for score in scorer.score(videos):
        assert score.percentile == pytest.approx(100 * sum(label < score.value for label in labels) / 40, abs=2.5)
        assert score.outside == (not 0 <= score.value <= 1)


def test_an_older_run_has_no_percentiles(finished, videos, tmp_path):
    shutil.copytree(finished.path, tmp_path / "older")
    (tmp_path / "older/training_labels.json").unlink()
    (score,) = evqa.load(tmp_path / "older").score(videos[:1])
    assert (score.percentile, score.failure) == (None, None)


@pytest.mark.parametrize(
    ("value", "percentile", "outside"), [(0.2, 50.0, False), (0.05, 0.0, False), (1.1, 100.0, True)]
)
def test_ties_among_the_training_labels_count_half(value, percentile, outside):
    meaning = Meaning(scale=LabelScale(), training_labels=(0.1, 0.2, 0.3))
    assert (meaning.percentile(value), meaning.is_outside(value)) == (percentile, outside)
    assert Meaning(scale=LabelScale()).percentile(value) is None


def test_a_model_that_computes_no_number_gives_a_failure(finished, videos):
    scorer = evqa.load(finished.path)
    with torch.no_grad():
        scorer.module.head.fc2.bias.fill_(float("nan"))
    (score,) = scorer.score(videos[:1])
    assert (score.value, score.failure.reason) == (None, "the model computed nan, which is no score")


def test_a_model_with_logits_answers_questions_and_one_without_says_why_not(scorer, train, videos, tmp_path):
    talker = evqa.load(train("head=text", f"run.root={tmp_path}").path, batch_size=2, workers=1)
    decoding = Decoding(max_new_tokens=5)
    found = list(talker.ask([*videos[:3], "absent.mp4"], question="Why {so} dark?", decoding=decoding))
    assert [answer.id for answer in found] == [*map(str, videos[:3]), "absent.mp4"]
    assert all(isinstance(answer.text, str) for answer in found[:3])
    assert (found[3].text, found[3].failure.id) == (None, "absent.mp4")
    alone = [next(talker.ask([video], question="Why {so} dark?", decoding=decoding)).text for video in videos[:3]]
    assert [answer.text for answer in found[:3]] == alone
    with pytest.raises(ConfigError, match="there is nothing to ask"):
        talker.ask(videos, question=" ")
    with pytest.raises(ConfigError, match=r"its head \(RegressionHead\) reads no words, so its model has no LM head"):
        scorer.ask(videos, question="Why?")


def test_the_question_is_what_the_model_is_asked(train, videos, tmp_path):
    talker = evqa.load(train("head=text", f"run.root={tmp_path}").path, workers=0)
    seen, prepare = [], talker._pipeline.preparer.prepare

    def noted(turns, clips):
        seen.append([turn.text for turn in turns])
        return prepare(turns, clips)

    talker._pipeline.preparer.prepare = noted
    list(talker.ask(videos[:1], question="Is it {dark}?", decoding=Decoding(max_new_tokens=1)))
    assert seen == [["\ufdd0Is it {dark}?"]]


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("gpu", r"device='gpu': give auto, cpu, cuda, cuda:<number> or mps."),
        ("cuda:99", r"device='cuda:99': this machine does not have it. It has 1 x cpu"),
        ("meta", r"device='meta': this machine does not have it."),
    ],
)
def test_a_device_that_is_not_there_is_named_before_anything_is_read(device, sentence):
    with pytest.raises(ConfigError, match=sentence):
        evqa.load("nowhere", device=device)


def test_the_device_follows_the_settings_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto", accelerator="auto") == find_device("cpu", accelerator="gpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"this machine has no GPU that torch can use. Write --override trainer.acc"):
        find_device("auto", accelerator="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto", accelerator="gpu") == find_device("auto", accelerator="auto") == torch.device("cuda")
    assert find_device("auto", accelerator="cpu") == torch.device("cpu")


@pytest.mark.parametrize("precision", ["32", "bf16", "bf16-true", "bf16-pure"])
def test_a_forward_pass_has_the_precision_of_the_training_and_leaves_torch_as_it_was(precision):
    before = torch.are_deterministic_algorithms_enabled()
    layer, head = torch.nn.Linear(8, 8), RegressionHead(8)
    computation = Computation(device=torch.device("cpu"), precision=precision, deterministic=True)
    computation.place(ModelWithHead(layer, head, LabelScale()))
    with computation.active():
        output = layer(torch.ones(1, 8, dtype=torch.bfloat16 if precision == "bf16-pure" else torch.float32))
        assert torch.is_autocast_enabled("cpu") == (precision in ("bf16", "bf16-true"))
        assert torch.is_inference_mode_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    assert output.dtype == (torch.float32 if precision == "32" else torch.bfloat16)
    assert layer.weight.dtype == (torch.bfloat16 if precision in ("bf16-true", "bf16-pure") else torch.float32)
    assert head.fc1.weight.dtype == torch.float32
    assert torch.are_deterministic_algorithms_enabled() == before
    assert not torch.is_autocast_enabled("cpu")
    assert not layer.training
