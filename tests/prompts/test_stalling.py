"""Stalls of a video: read from flags or events, worded in two ways, refused in a sentence."""

import pytest

from evqa.errors import ConfigError, PromptError
from evqa.prompts.prompt import Prompt
from evqa.prompts.stalling import read_stalling
from evqa.types import Clip, LabelScale
from tests.asking import a_record

CLIP = Clip(num_frames=12)
FLAGS = "001110000100"
PROMPT = Prompt(question="<media>{stalling}!", missing="?", stalling="frames").fitted(LabelScale())


@pytest.mark.parametrize("text", [FLAGS, "2+3;9+1", " 2+3 ; 9+1 "])
def test_flags_and_events_mean_the_same(text):
    stalling = read_stalling(text, CLIP)
    assert stalling.events == ((2, 3), (9, 1))
    assert stalling.worded("frames") == (
        f". The temporal sequence of the stalling information of each frame is shown as follows: {FLAGS}"
    )
    assert stalling.worded("sums") == (
        " The stalling condition of this video is: The total stalling duration of this video is 4 frames, accounting "
        "for 33.333333 percent of the total duration. The number of stalling events of the video is 2. The time "
        "elapsed from the end of the last stalling event to the end of the video is 2 frames, accounting for 16.666667 "
        "percent of the total playback duration."
    )


@pytest.mark.parametrize("text", ["none", "000000000000"])
def test_a_video_without_stalls_plays_smoothly(text):
    stalling = read_stalling(text, CLIP)
    assert stalling.worded("frames").endswith(": 000000000000")
    assert stalling.worded("sums") == (
        " The stalling condition of this video is: The video plays smoothly, without any stalling happens."
    )


def test_a_stall_may_be_the_whole_video_and_last_to_its_end():
    stalling = read_stalling("0+12", CLIP)
    assert stalling == read_stalling("1" * 12, CLIP)
    assert "is 12 frames, accounting for 100.000000 percent" in stalling.worded("sums")
    assert "end of the video is 0 frames, accounting for 0.000000 percent" in stalling.worded("sums")


@pytest.mark.parametrize("text", ["0012", "1-4", "3", "2+", "2+0", "9+1;2+3", "2+3;5+1", "2+3;;9+1", "no"])
def test_what_is_neither_flags_nor_events_is_refused_with_its_value(text):
    with pytest.raises(PromptError) as caught:
        read_stalling(text, CLIP)
    assert str(caught.value) == (
        f"stalling='{text}': write 0 or 1 for every frame (0011100), or events in frames as START+LENGTH;START+LENGTH, "
        "in order and apart (none where nothing stalls)."
    )


def test_events_have_to_lie_within_the_video():
    with pytest.raises(PromptError, match=r"^stalling='2\+3;9\+4': the last event ends with frame 13, and the"):
        read_stalling("2+3;9+4", CLIP)
    with pytest.raises(PromptError, match=r"^stalling='2\+3': the file does not say how many frames it has; write"):
        read_stalling("2+3", Clip())
    assert read_stalling("2+3", None).num_frames == 5, "a dry run reads no file"


def test_a_length_that_is_not_the_files_and_a_text_that_is_not_there_are_told():
    record = a_record()
    assert PROMPT.notes(record, [CLIP]) == ("no stalling; the question says '?' there",)
    assert PROMPT.turns(record, [CLIP])[0].text.endswith("?!")
    record.texts["stalling"] = "0110"
    assert PROMPT.notes(record, [CLIP]) == ("stalling is of 4 frames, and the file has 12",)
    assert PROMPT.turns(record, [CLIP])[0].text.endswith("follows: 0110!"), "as the table has it"
    record.texts["stalling"] = "2+3"
    assert PROMPT.notes(record, [CLIP]) == PROMPT.notes(record) == ()


def test_without_the_option_the_text_stays_as_it_is():
    record = a_record()
    record.texts["stalling"] = "twice"
    plain = Prompt(question="<media>{stalling}!").fitted(LabelScale())
    assert plain.turns(record, [CLIP])[0].text.endswith("twice!")
    assert plain.notes(record, [CLIP]) == ()


@pytest.mark.parametrize("question", [None, "<media>How good?"])
def test_the_option_needs_its_place_in_the_question(question):
    with pytest.raises(ConfigError, match=r"prompt\.stalling=sums: the question names no \{stalling\}\. Write it in"):
        Prompt(question=question, stalling="sums")
