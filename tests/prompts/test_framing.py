"""What stands around a question of one's own, by the files that it is about."""

import json
import re

import pytest
import torch
from hydra.utils import instantiate

from evqa.config.compose import compose
from evqa.errors import ConfigError
from evqa.prompts.framing import Framing
from evqa.types import MEDIA, Clip, ImageGrid, Turn
from tests.models.samples import Frames

ASSISTANTS = ["vqa2_assistant", "vqa2_assistant_demo", "vqa2_assistant_trained", "vqa2_assistant_seconds"]


def video(num_frames, num_motion, seconds=8.0):
    return Clip(
        frames_FHWC=torch.zeros(num_frames, 2, 2, 3, dtype=torch.uint8),
        motion=Frames(torch.zeros(num_motion, 2, 2, 3, dtype=torch.uint8)),
        seconds=seconds,
    )


def image():
    grid = ImageGrid(rows=1, columns=1, height=2, width=2)
    return Clip(frames_FHWC=torch.zeros(2, 2, 2, 3, dtype=torch.uint8), image=grid)


def framed(prompt, question, *clips):
    (turn,) = prompt.framed((Turn(role="user", text=question),), clips, num_files=len(clips))
    return turn.text


@pytest.fixture(params=ASSISTANTS)
def prompt(request):
    return instantiate(compose([f"prompt={request.param}"]).prompt)


def test_the_assistants_questions_are_the_originals_word_for_word(vqa2):
    prompt = instantiate(compose(["prompt=vqa2_assistant"]).prompt)
    named = json.loads((vqa2 / "prompts.json").read_text())["inference_prompts"]
    asked = [case["user_text"] for case in named if case["name"].startswith("qbench")]
    for text in asked:
        frames = [int(number) for number in re.findall(r"receive (\d+) distinct|-(\d+)frames", text)[0] if number]
        first = [int(number) for number in re.findall(r"The first (\d+) frames", text)]
        motion = [int(number) for number in re.findall(r"all (\d+) frames", text)]
        counts = frames if len(motion) == 1 else [*first, frames[0] - first[0]]
        clips = [video(*pair) for pair in zip(counts, motion, strict=True)]
        question = text[text.rindex("<image>\n") + len("<image>\n") :].removeprefix("." if len(clips) == 1 else "")
        assert framed(prompt, question, *clips) == text.replace("<image>", MEDIA)
    assert any(text.count("<image>") == 4 for text in asked)


def test_every_kind_of_files_has_its_places(prompt):
    assert framed(prompt, "Sharp?", video(3, 12)).count(MEDIA) == 2
    assert framed(prompt, "Sharp?", video(3, 12), video(2, 8)).count(MEDIA) in (2, 4)
    assert framed(prompt, "Sharp?", image()).count(MEDIA) == 1
    assert framed(prompt, "Sharp?", image(), image()).count(MEDIA) == 2
    assert framed(prompt, "Sharp?", image(), video(1, 4)) == MEDIA * 2 + "Sharp?"
    assert framed(prompt, "Sharp? {x}", video(3, 12)).endswith("Sharp? {x}")


def test_what_names_its_places_stays_and_only_the_first_question_is_framed(prompt):
    turns = (Turn(role="user", text="a"), Turn(role="assistant", text="b"), Turn(role="user", text="c"))
    first, *others = prompt.framed(turns, [video(3, 12)], num_files=1)
    assert first.text.endswith("a")
    assert tuple(others) == turns[1:]
    own = (Turn(role="user", text=f"a{MEDIA}"), turns[1])
    assert prompt.framed(own, [video(3, 12)], num_files=1) == own


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{question}", "write <media> where the files go"),
        ("<media>", r"and \{question\} once"),
        ("<media>{question}{question}", r"and \{question\} once"),
        ("<media>{question}{title}", r"there is no \{title\}"),
        ("<media>{question}{", "a brace that belongs to no name"),
        ("<media>{question:>9}", "is no format of it"),
    ],
)
def test_a_frame_that_cannot_be_filled_is_refused(template, message):
    with pytest.raises(ConfigError, match=rf"prompt.framing.video.*{message}"):
        Framing(video=template)
