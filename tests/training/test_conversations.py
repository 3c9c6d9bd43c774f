"""What a model is asked: the question follows the label, and what can never work is answered before the run."""

from pathlib import Path

import pytest
import torch

from evqa.errors import ConfigError
from evqa.heads.conversation import ConversationHead
from evqa.heads.levels import LevelsHead
from evqa.heads.text import NumberWording
from evqa.models.base import BuildOptions
from evqa.models.tiny import Tiny
from evqa.prompts.prompt import Prompt
from evqa.training.batches import Collate, Samples
from evqa.training.conversations import check_conversations, conversation
from evqa.types import MEDIA, Clip, LabelScale, Record, Turn

MOS = LabelScale(name="mos", range=(1, 5))
LEVELS = LevelsHead(16).wording
NUMBER = NumberWording("It is ", 100.0, 0, "")
ASKED = (Turn(role="user", text=f"{MEDIA}How good?"), Turn(role="assistant", text=" good", learn=True))


def model(**settings):
    return Tiny(BuildOptions(frames=None, audio=None), width=16, **settings)


def record(name="a", num_files=1, **more):
    return Record(id=name, paths=tuple(Path(f"{number}.mp4") for number in range(num_files)), **more)


def check(records, prompt, *, split="test", head=LevelsHead, **settings):
    check_conversations({split: records}, prompt=prompt.fitted(MOS), head=head(16), model=model(**settings))


def test_a_record_s_own_turns_stand_before_the_head_s_words():
    prompt = Prompt().fitted(MOS)
    turns = conversation(record(turns=ASKED), [], prompt=prompt, wording=NUMBER, unit=0.57)
    assert turns[:2] == ASKED
    assert [(turn.text, turn.learn) for turn in turns[2:]] == [("It is ", False), ("57", True)]


def test_scoring_leaves_out_the_answers_that_are_to_be_predicted():
    earlier = (Turn(role="user", text=MEDIA), Turn(role="assistant", text="Hm.", learn=True))
    own = record(turns=(*earlier, Turn(role="user", text="Well?"), *ASKED[1:]))
    turns = conversation(own, [], prompt=Prompt().fitted(MOS), wording=LEVELS, unit=None)
    assert [turn.text for turn in turns] == [MEDIA, "Hm.", "Well?", "The quality of the video is"]
    assert not any(turn.learn for turn in turns)


def test_a_head_that_is_validated_by_the_answers_keeps_them():
    own = record(turns=ASKED)
    wording = ConversationHead(16).wording
    assert conversation(own, [], prompt=Prompt().fitted(MOS), wording=wording, unit=None) == ASKED


def test_more_files_than_a_model_takes_are_answered():
    with pytest.raises(ConfigError) as caught:
        check([record(), record("b", 9)], Prompt())
    assert str(caught.value) == (
        "data: Tiny takes 8 files a record, and 1 of test have more (the first: b with 9). Choose another model, or "
        "name fewer columns in data.path_column."
    )


def test_a_question_with_fewer_places_than_files_is_answered_and_own_turns_are_no_matter_of_the_prompt():
    with pytest.raises(ConfigError) as caught:
        check([record(num_files=2)], Prompt())
    assert str(caught.value) == (
        "prompt.question has 1 place for media (<media>), and records of test have 2 files (the first: a). Write "
        "<media> once for every file."
    )
    with pytest.raises(ConfigError, match=r"has 2 places for media .* have 1 file "):
        check([record()], Prompt(question="<media><media>Which is better?"))
    check([record(num_files=2)], Prompt(question="<media>or<media>"))
    check([record(num_files=2, turns=ASKED)], Prompt())


def test_a_question_that_never_fits_is_answered_and_a_long_title_is_not():
    prompt, long = Prompt(question="<media>{title}" + "?" * 90, missing=""), record(texts={"title": "x" * 500})
    check([long], prompt, max_bytes=90)
    with pytest.raises(ConfigError, match=r"question is too long .* from 90 to 89 bytes\. Shorten it, or raise"):
        check([long], prompt, max_bytes=89)
    with pytest.raises(ConfigError, match=r"model\.max_bytes=7 is too small: the text before the media is longer"):
        check([long], Prompt(question="What of <media>{title}"), max_bytes=7)


def samples(*records, prompt, max_bytes):
    def read(path):
        return Clip(waveform_S=torch.zeros(2800), fbank_RM=torch.zeros(16, 128))

    preparer = model(max_bytes=max_bytes).preparer
    data = Samples(records=records, read=read, preparer=preparer, wording=LEVELS, prompt=prompt, scale=MOS)
    return Collate(preparer)([data[0, index] for index in range(len(records))])


def test_a_record_whose_conversation_does_not_fit_is_a_failure_of_its_own():
    long = record("long", texts={"title": "x" * 50})
    turned = record("turned", turns=(Turn(role="user", text=f"{MEDIA}{MEDIA}Where is it?"),))
    batch = samples(record(), long, turned, prompt=Prompt(question="{title}<media>").fitted(MOS), max_bytes=20)
    assert batch.ids == ("a",)
    assert {failure.id: failure.reason for failure in batch.failures} == {
        "long": "model.max_bytes=20 is too small: the text before the media is longer. Raise it, or begin "
        "prompt.question with <media>.",
        "turned": "the conversation has 2 places for media (<media>), and this record has 1 streams. Change "
        "prompt.question, or the record's turns.",
    }


def test_a_question_that_is_cut_is_said():
    long = record("long", texts={"title": "x" * 50})
    batch = samples(record(), long, prompt=Prompt(question="<media>{title}", missing="").fitted(MOS), max_bytes=20)
    assert batch.missing == ((), ("the question was cut at its end, from 50 to 20 bytes",))


def test_a_text_that_only_some_records_lack_is_said_where_it_is_lacking():
    known = record("known", texts={"mood": "calm", "title": ""})
    prompt = Prompt(question="<media>{title}{mood}", missing="None").fitted(MOS)
    batch = samples(record(), known, prompt=prompt, max_bytes=20)
    assert batch.missing == (("no mood; the question says 'None' there",), ())


def test_a_head_that_learns_labels_is_not_trained_without_them():
    labelled, silent = record(label=3.0), record("silent", turns=ASKED)
    check([labelled], Prompt(), split="train")
    check([silent], Prompt(), split="test")
    check([silent], Prompt(), split="train", head=ConversationHead)
    with pytest.raises(ConfigError) as caught:
        check([labelled, silent], Prompt(), split="val")
    assert str(caught.value) == (
        "data.label.name: 1 records of val have no label (the first: silent), and LevelsHead learns labels. Name their "
        "column, or learn the conversations: head=conversation."
    )
