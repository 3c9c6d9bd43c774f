"""`dry_run=true` shows the first record's conversation; tables are read, media and weights are not."""

import json
import re

import pytest

from evqa.benchmarking.count import count_training
from evqa.config.compose import compose
from evqa.errors import ConfigError
from evqa.runs import fit
from evqa.runs.card import gigabytes
from evqa.runs.recomputation import choose_recomputed
from evqa.training.build import build_model
from evqa.training.plan import read_plan


@pytest.fixture
def rows(tmp_path):
    """A table of two rows with files that nobody could decode."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        (tmp_path / "videos" / f"{name}.mp4").write_text(f"no video {name}")
    (tmp_path / "t.csv").write_text("id,mos,headline,creator\na,3,Big news,Ann\nb,4,,Bob\n")
    return [f"data.path={tmp_path}/t.csv", f"data.root={tmp_path}/videos", "data.label.range=[1,5]", "data=table"]


@pytest.fixture
def shown(capsys, monkeypatch):
    """Run with `dry_run=true`; returns what is printed below the cost card."""

    def run(*overrides):
        assert fit.run(compose([*overrides, "dry_run=true"])) is None
        return capsys.readouterr().out.partition("Conversation:\n")[2]

    return run


TINY = ("model=videollama2_tiny", "trainer.precision=bf16", "data.batch_size=4")


def card(capsys, *overrides):
    """The cost card's rows."""
    assert fit.run(compose([*TINY, *overrides, "dry_run=true"])) is None
    lines = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if line.count("│") == 3]
    return {what.strip(): value.strip() for what, value in lines}


@pytest.mark.parametrize("more", [("lora=none", "head=levels"), ("lora=r8", "model.recompute=0.5")])
def test_the_memory_on_the_card_is_the_counted_one(capsys, more):
    rows = card(capsys, *more)
    report = count_training(read_plan(compose([*TINY, *more])), card_name="H200")
    assert rows["memory a device, training"] == gigabytes(report.memory.peak)
    assert rows["memory: activations, batch of 4"] == gigabytes(report.memory.activations)
    assert rows["memory a device, scoring"] < rows["memory a device, training"]


def test_auto_says_what_it_chooses_or_that_it_is_chosen_where_it_runs(capsys, monkeypatch):
    auto = ("lora=none", "model.recompute=auto")
    rows = card(capsys, *auto)
    assert rows["model.recompute=auto, where it runs"].startswith("as few layers as")
    monkeypatch.setattr("evqa.runs.card.memory_of", lambda device: 200e6)
    rows = card(capsys, *auto)
    assert rows["model.recompute=auto, on this GPU"].startswith("0 of 2 layers of the")


def test_a_training_recomputes_what_its_device_asks_for(monkeypatch):
    plan = read_plan(compose([*TINY, "lora=none", "model.recompute=auto"]))
    model = build_model(plan).model
    assert choose_recomputed(plan, model) == "nothing is computed again, because it does not run on a CUDA GPU"
    assert model.num_recomputed == 0
    monkeypatch.setattr("evqa.runs.recomputation.memory_of", lambda device: 1e6)
    assert "which is still too much" in choose_recomputed(plan, model)
    assert [layer.gradient_checkpointing for layer in model.blocks()["language"]] == [True, True]


def test_the_first_record_is_asked_about_what_its_label_measures(rows, shown):
    question = "'prompt.question=\"<media>How good is {title} by {creator}?\"'".strip("'")
    text = shown(*rows, "head=text", "data.title_column=headline", question)
    assert text == (
        "<frames: 8 tokens, sound: about 50 tokens>How good is Big news by Ann?\n"
        "The quality of the video is [learned: 50<end>]\n"
        "  of a, the first record of train\n"
    )


@pytest.mark.parametrize(
    ("label", "question"),
    [
        ("mos", "How would you rate the perceptual quality of this video?"),
        ("ECR", "How would you judge the engagement continuation rate of the given content"),
        ("Dance_level", "How would you rate the dance level of this video?"),
    ],
)
def test_the_question_and_the_head_s_words_follow_the_label(rows, shown, tmp_path, label, question):
    table = tmp_path / "t.csv"
    table.write_text(table.read_text().replace("mos", label))
    text = " ".join(shown(*rows, f"data.label.name={label}", "model=videollama2_tiny", "head=levels").split())
    assert question in text
    quantity = {"mos": "quality", "ECR": "engagement", "Dance_level": "dance level"}[label]
    assert f"<|im_start|>assistant The {quantity} of the video is" in text
    if label == "mos":
        assert "engagement" not in text


def test_what_is_cut_and_what_is_not_known_is_said(rows, shown):
    text = shown(*rows, "data.title_column=headline", "model.max_bytes=5", "prompt.question='<media>{title}{seconds}'")
    assert "  the question was cut at its end, from 11 to 5 bytes\n" in text
    assert "  {seconds} of a file that was not read: 0 here\n" in text


def test_without_data_the_conversation_is_of_a_made_up_record(rows, shown, tmp_path):
    assert "of a made-up record: " in shown(*rows, f"data.root={tmp_path}/gone")
    assert f"{tmp_path}/gone: no such folder of media files." in shown(*rows, f"data.root={tmp_path}/gone")
    (tmp_path / "videos" / "a.mp4").unlink()
    (tmp_path / "videos" / "b.mp4").unlink()
    assert "of a made-up record: no record can be used (t.csv row 1, Id a: no video a.mp4" in shown(*rows)
    text = shown(f"data.folder={tmp_path}/clips")
    assert text.startswith("<frames: 8 tokens, sound: about 50 tokens>(title)\n(description)\n")
    assert not (tmp_path / "clips").exists()


VQA2 = ("model=vqa2_tiny", "modal=v", "frames=each_second")


def test_frames_and_motion_have_places_of_their_own(rows, shown):
    text = shown(*rows, *VQA2, "prompt=vqa2_ugc_first_release", "head.train=words", "head.ending=.")
    assert re.search(
        r"The key frames of this video are:\n<frames: about \d+ tokens>. And the motion feature of the video is\n"
        r"<motion: about \d+ tokens>. How would you rate the quality of this video\?<\|im_end\|>\n"
        r"<\|im_start\|>assistant\n"
        r"The quality of the video is\[learned:  fair.<\|im_end\|>\]",
        text,
    )
    assert re.search(r"user\n<frames: about \d+ tokens>no motion", shown(*rows, *VQA2, *NO_MOTION).replace("><", ">"))
    with pytest.raises(
        ConfigError, match=r"has 3 places .* records of train have 1 file .* once or twice for every fi"
    ):
        fit.run(compose([*rows, *VQA2, "prompt.question='<media><media><media>'", "dry_run=true"]))


NO_MOTION = ("prompt=vqa2_ugc_current", "model.motion=null")
STALLING = ("'prompt.question=\"<media>{stalling}\"'".strip("'"), "prompt.stalling=sums")


def test_stalls_are_worded_without_the_file(rows, shown, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,mos,stalling\na,3,2+3\nb,4,none\n")
    text = " ".join(shown(*rows, *STALLING, "model.max_bytes=400").split())
    assert "The total stalling duration of this video is 3 frames" in text
    assert "{stalling} of a file that was not read: as if it ended with its last stall" in text
    (tmp_path / "videos" / "a.mp4").unlink()
    (tmp_path / "videos" / "b.mp4").unlink()
    text = shown(*rows, *STALLING, "model.max_bytes=400")
    assert "is 2 frames, accounting for 50.000000 percent" in text
    assert "of a made-up record" in text


def test_a_tokenizer_that_is_not_here_is_said(rows, shown):
    assert "the checkpoint's tokenizer is not here: one byte is one token" in shown(*rows, "model=videollama2")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["prompt.question='<media>{mood}'"], r"prompt\.question names \{mood\}, but .*no column 'mood'"),
        (["prompt.question='<media>{title'"], r"a brace that belongs to no name"),
        (["prompt.question='Tell me'"], r"has no place for the media: write <media>"),
        (["prompt.question='<media><media>'"], r"has 2 places for media \(<media>\), and records of train have 1 file"),
        (["prompt.question='<media>Is this dog good?'", "model.max_bytes=9"], r"is too long for the model"),
    ],
)
def test_a_question_that_cannot_work_ends_the_dry_run_with_a_sentence(rows, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        fit.run(compose([*rows, *overrides, "dry_run=true"]))


def test_pairs_are_shown_with_both_files_and_conversations_with_all_that_is_learned(rows, shown, tmp_path):
    turns = [{"role": "user", "content": "<media>or<media>?"}, {"role": "assistant", "content": "The first."}]
    row = {"id": "p", "mos": 3, "turns": turns, "first": "a", "second": "b"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    given = (f"data.path={tmp_path}/t.jsonl", "data.path_column=[first,second]", "data.turns_column=turns")
    text = shown(*rows, *given, "modal=v", "head=conversation", "callbacks=loss")
    assert text.startswith("<frames: 8 tokens>or<frames: 8 tokens>?\n[learned: The first.<end>]")


def test_a_number_of_tokens_that_depends_on_the_file_is_about_so_many(rows, shown):
    assert shown(*rows, "frames.exact=true", "modal=v").startswith("<frames: about 8 tokens>")
