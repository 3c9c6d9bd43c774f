"""VQA2's rating lists and streaming lists: levels beside labels, and what words say of stalls."""

import json

import pytest

from evqa.datasets.stalls import stalling_of
from evqa.datasets.vqa2 import RatingList, StreamingList
from evqa.errors import AnnotationError
from evqa.types import MEDIA, LabelScale

ASKED = (
    "It has\n<image>In addition, you will also obtain motion features of the {N} frames of the entire video:\n <image>"
)
FLAGS = f"{ASKED}. The temporal sequence of the stalling information of each frame is shown as follows: "
SMOOTH = f"{ASKED} The stalling condition of this video is: The video plays smoothly, without any stalling happens."


def sums(*, stalled, percent, events, rest):
    return (
        f"{ASKED} The stalling condition of this video is: The total stalling duration of this video is {stalled} "
        f"frames, accounting for {percent:.6f} percent of the total duration. The number of stalling events of the "
        f"video is {events}. The time elapsed from the end of the last stalling event to the end of the video is "
        f"{rest} frames, accounting for 12.500000 percent of the total playback duration. Based on the above, ..."
    )


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.mp4").write_text(name * 9)
    return tmp_path


def ratings(folder, *rows, ends=(0, 1)):
    (folder / "list.json").write_text(json.dumps(rows))
    return RatingList(
        path=str(folder / "list.json"),
        root=str(folder),
        id_column="img_path",
        label=LabelScale(name="mos", range=ends),
        val_fraction=0,
    )


def streaming(folder, *rows, name="waterloo_I_ver1", **settings):
    given = [
        {
            "image": image,
            "gt_score": score,
            "frames per sec": 10,
            "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        }
        for image, score, question, answer in rows
    ]
    (folder / f"{name}.json").write_text(json.dumps(given))
    options = {"path": str(folder / f"{name}.json"), "path_column": "image", "val_fraction": 0} | settings
    return StreamingList(root=str(folder), label=LabelScale(name="gt_score", range=(0, 100)), **options)


def test_levels_are_compared_with_those_of_the_labels_and_the_top_of_the_published_lists_is_five(folder):
    agreed = [
        {"img_path": "a.mp4", "mos": 1.0, "level": 6},
        {"img_path": "b.mp4", "mos": 0.8, "level": 5},
        {"img_path": "c.mp4", "mos": 0.19, "level": 1},
    ]
    assert ratings(folder, *agreed).read().notes == (
        "list.json: 1 rows at the very top of the scale say level 6; it is read as 5.",
    )
    other = ratings(folder, *agreed, {"img_path": "d.mp4", "mos": 0.6, "level": 3}).read()
    assert {record.id: record.label for record in other.splits["train"]}["d.mp4"] == 0.6
    assert other.notes[0] == (
        "list.json: 1 of 4 levels are not those of their labels (the first: d.mp4 with mos=0.6 is of level 4, not 3). "
        "The labels count; is data.label.range=[0.0, 1.0] right?"
    )
    assert ratings(folder, {"img_path": "a.mp4", "mos": 0.99, "level": 6}).read().notes[0].endswith("right?")
    assert ratings(folder, {"img_path": "a.mp4", "mos": 3.2}, ends=(1, 5)).read().notes == ()


@pytest.mark.parametrize(
    ("question", "stalling"),
    [
        (f"{FLAGS}0011100 Based on", "0011100"),
        (SMOOTH, "none"),
        (sums(stalled=3, percent=37.5, events=1, rest=1), "00001110"),
        (sums(stalled=7, percent=100 * 7 / 431, events=1, rest=0), "0" * 424 + "1" * 7),
        (sums(stalled=3, percent=37.5, events=2, rest=1), None),  # nobody can tell where
        (sums(stalled=3, percent=37.5, events=1, rest=9), None),  # longer than the video
        (sums(stalled=0, percent=0, events=1, rest=9), None),
        ("How good is it?", None),
    ],
)
def test_stalls_are_read_from_the_words_where_they_tell_them(question, stalling):
    assert stalling_of(question) == stalling


def test_a_streaming_list_gives_scores_stalls_and_on_request_its_own_question(folder):
    rows = [
        ("a.mp4", "28.8", f"{FLAGS}0110", "The quality of this video is poor."),
        ("b.mp4", "60", SMOOTH, "The quality of this video is good."),
        ("c.mp4", "42.0", sums(stalled=3, percent=37.5, events=2, rest=1), "The quality of this video is fair."),
    ]
    given = streaming(folder, *rows).asking(["stalling"]).read()
    assert {record.id: (record.label, record.texts) for record in given.splits["train"]} == {
        "waterloo_I_ver1/a.mp4": (28.8, {"stalling": "0110"}),
        "waterloo_I_ver1/b.mp4": (60.0, {"stalling": "none"}),
        "waterloo_I_ver1/c.mp4": (42.0, {}),
    }
    (note,) = given.notes
    assert note.startswith(
        "waterloo_I_ver1.json: 1 rows give sums of several stalls, not their places (the first: c.mp4); they have no "
        "text {stalling}."
    )
    own = streaming(folder, *rows, turns_column="conversations").read().splits["train"]
    assert not any(record.turns for record in given.splits["train"])
    (turn,) = own[0].turns
    assert turn.role == "user"
    assert turn.text == f"{FLAGS}0110".replace("<image>", MEDIA)
    assert turn.text.count(MEDIA) == 2


def test_both_versions_of_a_list_are_read_together_and_the_same_video_stays_on_one_side(folder):
    streaming(folder, ("a.mp4", "28.8", SMOOTH, ""), ("b.mp4", "60", SMOOTH, ""), name="w_ver2")
    both = [str(folder / f"w_ver{version}.json") for version in (1, 2)]
    rows = ("a.mp4", "28.8", f"{FLAGS}0110", ""), ("b.mp4", "60", f"{FLAGS}0000", "")
    records = streaming(folder, *rows, name="w_ver1", path=both).load().splits["train"]
    groups = {record.id: record.group for record in records}
    assert groups["w_ver1/a.mp4"] == groups["w_ver2/a.mp4"] != groups["w_ver1/b.mp4"] == groups["w_ver2/b.mp4"]
    with pytest.raises(AnnotationError, match=r"2 ids stand in more than one train table \(the first: w_ver2/a\.mp4\)"):
        streaming(folder, *rows, name="w_ver1", path=[both[1], both[1]]).read()


def test_a_level_in_the_answer_that_is_not_that_of_the_score_and_a_row_without_words_are_told(folder):
    notes = streaming(folder, ("a.mp4", "80", "How?", "The quality of this video is good."), path=None,
                      test_path=str(folder / "waterloo_I_ver1.json")).read().notes  # fmt: skip
    assert "(the first: a.mp4 with gt_score=80 is of level high, not good)" in notes[0]
    assert notes[1] == "waterloo_I_ver1.json: 1 rows say nothing of stalls (the first: a.mp4); no text {stalling}."
