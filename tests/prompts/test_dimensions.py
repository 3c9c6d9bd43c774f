"""What is asked of every second of a video: a dimension each, in words that users may replace."""

import pytest
from hydra.utils import instantiate

from evqa.config.compose import compose
from evqa.errors import ConfigError
from evqa.prompts.dimensions import Dimensions
from evqa.types import MEDIA
from tests.prompts.test_framing import framed, video

OPTION = "prompt=vqa2_assistant_seconds"
EIGHT = ["sharpness", "light", "compression artefacts", "flicker", "fluency", "colour", "motion blur", "noise"]


def test_a_second_is_asked_about_in_the_originals_words():
    prompt = instantiate(compose([OPTION]).prompt)
    assert list(prompt.dimensions.questions) == EIGHT
    text = framed(prompt, prompt.dimensions.questions["sharpness"], video(1, 28))
    assert text == (
        "You will receive 1 keyframes that have been sampled from one video-clip with 1s long. In addition, you will "
        "also obtain motion features extracted from all 28 frames of the the video clip. Please analyze the keyframes "
        f"and answer the questions based on your observations.\nThe video frames:{MEDIA}\nThe video motion features:"
        f"{MEDIA}\nHow would you assess the sharpness of the video?"
    )


def test_dimensions_and_questions_can_be_replaced():
    changed = compose(
        [OPTION, "prompt.dimensions.questions.noise='Is it grainy?'", "~prompt.dimensions.questions.light"]
    )
    questions = instantiate(changed.prompt).dimensions.questions
    assert questions["noise"] == "Is it grainy?"
    assert list(questions) == [name for name in EIGHT if name != "light"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"questions": {}}, r"questions: there is none; write a name and a question"),
        ({"questions": {"noise": " "}}, r"questions: 'noise' asks nothing"),
        ({"questions": {"x": "Is it?"}, "prefix": "The {x} is"}, r"prefix: there is no \{x\}; only \{quantity\}"),
        ({"questions": {"x": "Is it?"}, "prefix": "The { is"}, r"prefix='The \{ is': a brace that belongs to no name"),
    ],
)
def test_dimensions_that_cannot_be_asked_are_refused(values, message):
    with pytest.raises(ConfigError, match=rf"^prompt.dimensions.{message}"):
        Dimensions(**values)
