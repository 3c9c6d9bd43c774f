"""Questions: what may stand in a template, and that they follow the label."""

import pytest
import torch

from evqa.errors import ConfigError
from evqa.heads.levels import LevelsHead
from evqa.heads.regression import RegressionHead
from evqa.prompts.prompt import Prompt
from evqa.types import MEDIA, Clip, LabelScale
from tests.asking import a_record

ECR, MOS = LabelScale(), LabelScale(name="mos", range=(1.0, 5.0))


def asked(prompt, record=None, clip=None, *, scale=ECR):
    (turn,) = prompt.fitted(scale).turns(record or a_record(), [clip] if clip else [])
    assert (turn.role, turn.learn) == ("user", False)
    return turn.text


def answer(prompt, scale):
    (turn,) = RegressionHead(8).wording.turns(None, prompt.fitted(scale))
    return turn.text


def test_texts_are_filled_in_literally():
    title = "{title} {0} %s <media> \ufdd0 {{x}}"
    text = asked(Prompt(question="<media>T {title} D {description}."), a_record(title=title))
    assert text == f"{MEDIA}T {{title}} {{0}} %s <media> \N{REPLACEMENT CHARACTER} {{{{x}}}} D None."


def test_an_empty_text_is_empty_and_a_missing_one_has_its_word():
    prompt = Prompt(question="<media>[{title}][{description}]", missing="nothing")
    assert asked(prompt, a_record(title="")) == f"{MEDIA}[][nothing]"


def test_a_question_names_columns_seconds_frames_and_what_is_measured():
    clip = Clip(frames_FHWC=torch.zeros(3, 2, 2, 3, dtype=torch.uint8), seconds=6.26)
    record = a_record()
    record.texts["creator"] = "Ada"
    prompt = Prompt(question="<media>{creator} {seconds:.1f} {num_frames} {quantity} {Quantity} {{}}")
    assert prompt.texts == ("creator",)
    assert asked(prompt, record, clip, scale=MOS) == f"{MEDIA}Ada 6.3 3 quality Quality {{}}"


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("ECR", "engagement"),
        ("mos", "quality"),
        ("MOS_normalised", "quality"),
        ("DMOS", "quality"),
        ("watch_time", "watch time"),
        ("sharpness", "sharpness"),
        ("__", "score"),
    ],
)
def test_what_a_label_measures_follows_from_its_name(name, quantity):
    assert LabelScale(name=name).measures == quantity
    assert LabelScale(name=name, quantity="appeal").measures == "appeal"


def test_the_question_and_the_heads_words_follow_the_label():
    assert "engagement continuation rate" in asked(Prompt())
    assert answer(Prompt(), ECR) == "The engagement continuation rate of the video."
    assert asked(Prompt(), scale=MOS) == f"{MEDIA}How would you rate the perceptual quality of this video?"
    assert answer(Prompt(), MOS) == "The quality of the video."
    other = LabelScale(name="sharpness")
    assert asked(Prompt(), scale=other) == f"{MEDIA}How would you rate the sharpness of this video?"
    (turn,) = LevelsHead(8).wording.turns(None, Prompt().fitted(other))
    assert turn.text == "The sharpness of the video is"


def test_a_model_that_cannot_read_gets_the_texts_alone():
    prompt = Prompt().fitted(MOS, short=True)
    (turn,) = prompt.turns(a_record(title="A dog"), [])
    assert turn.text == f"{MEDIA}A dog\n"
    assert RegressionHead(8).wording.turns(None, prompt)[0].text == "\nQuality:"


def test_braces_in_an_answer_stay():
    assert answer(Prompt(question="<media>?", answer="{{a}} {quantity}"), ECR) == "{a} engagement"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"question": "How good?"}, "prompt.question has no place for the media: write <media> where they go."),
        ({"question": "<media>{title"}, "prompt.question='<media>{title': a brace that belongs to no name"),
        ({"question": "<media>title}"}, "a brace that belongs to no name"),
        ({"question": "<media>{}"}, "write a name between braces, as in {title}; {{ for a brace."),
        ({"question": "<media>{title!r}"}, "write a name between braces"),
        ({"question": "<media>{title:>30}"}, "{title:>30} is no format of it; {seconds:.1f} is one."),
        ({"question": "<media>{num_frames:.1q}"}, "{num_frames:.1q} is no format of it"),
        ({"answer": "<media>"}, "prompt.answer: <media> belongs into prompt.question."),
        ({"answer": "{title}"}, "prompt.answer: there is no {title}; only {quantity}"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_when_the_prompt_is_made(given, sentence):
    with pytest.raises(ConfigError) as caught:
        Prompt(**given)
    (problem,) = caught.value.problems
    assert sentence in problem
