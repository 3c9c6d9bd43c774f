"""Lists of conversations in LLaVA's form: videos, pairs and still images, what is rejected, who stays together."""

import json
import subprocess
import sys

import pytest

from evqa.datasets.llava import LlavaList
from evqa.errors import AnnotationError, ConfigError
from evqa.types import MEDIA, LabelScale, Turn

SCALE = LabelScale(name="gt_score", range=(0, 100))
LONG = "Please watch this video carefully, and then answer the following question: how sharp is it? "


def row(image, question="<image>\n<image>\nHow sharp?", answer="Very.", **more):
    said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": image, "frames per sec": 1, "conversations": said} | more


def still(image, question="<image>\nHow sharp?", **more):
    return {name: value for name, value in row(image, question, **more).items() if name != "frames per sec"}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4", "a.png", "b.png"):
        (tmp_path / name).write_text(name * 9)
    return tmp_path


def given(folder, *rows, name="list", **settings):
    (folder / f"{name}.json").write_text(json.dumps(rows))
    options = {"path": str(folder / f"{name}.json"), "val_fraction": 0, "label": SCALE} | settings
    return LlavaList(root=str(folder), **options)


def test_videos_pairs_images_and_several_turns_become_records(folder):
    more = [{"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes."}]
    rows = [
        row("a.mp4", gt_score="57.2", id="x", task_mark="ugc"),
        row("a.mp4", conversations=row("")["conversations"] + more, id="x"),
        row(["a.mp4", "b.mp4"], "1: <image><image> 2: <image><image> Which?", "The first."),
        row("b.mp4", "<image>How sharp?"),
        still("a.png"),
        still(["a.png", "b.png"], "<image><image>Which?"),
    ]
    records = given(folder, *rows, tag_columns=["id", "task_mark"]).read().splits["train"]
    assert [record.id for record in records] == [f"list/{number}" for number in range(1, 7)]
    assert [[path.name for path in record.paths] for record in records] == [
        ["a.mp4"],
        ["a.mp4"],
        ["a.mp4", "b.mp4"],
        ["b.mp4"],
        ["a.png"],
        ["a.png", "b.png"],
    ]
    assert [record.label for record in records] == [57.2, *[None] * 5]
    assert records[0].tags == {"id": "x", "task_mark": "ugc"}
    assert records[1].turns == (
        Turn(role="user", text=f"{MEDIA}\n{MEDIA}\nHow sharp?"),
        Turn(role="assistant", text="Very.", learn=True),
        Turn(role="user", text="Sure?"),
        Turn(role="assistant", text="Yes.", learn=True),
    )


def test_a_bad_row_is_rejected_with_its_number_and_a_sentence_and_costs_no_other(folder):
    bad = {
        "names no file; 'image' is a file, or a list of files": row([]),
        "no video z.mp4": row("z.mp4"),
        "image 2: no video z.mp4": row(["a.mp4", "z.mp4"]),
        "'../a.mp4' would leave the folder": row("../a.mp4"),
        "has 'frames per sec', as rows of videos have, and a.png is an image": row("a.png"),
        "has no 'frames per sec', as rows of images have, and a.mp4 is a video": still("a.mp4"),
        "its conversation has 3 places for media (<image>), and it names 1 file; a video has one, or two (its": row(
            "a.mp4", "<image><image><image>?"
        ),
        "its conversation has 0 places for media (<image>), and it names 1 file; a video": row("a.mp4", "How sharp?"),
        "its conversation has 2 places for media (<image>), and it names 1 file; an image has one": still(
            "a.png", "<image><image>?"
        ),
        "conversations holds no conversation": row("a.mp4", conversations=[]),
        "conversations has no role": row("a.mp4", conversations=[{"from": "tool", "value": "?"}]),
        "gt_score is 570, outside 0..100": row("a.mp4", gt_score=570),
        "holds a list or an object in 'id'": row("a.mp4", id=[1]),
        "is not a JSON object": "a.mp4",
    }
    rows = [one for value in bad.values() for one in (row("b.mp4"), value)]
    read = given(folder, *rows).read()
    assert [record.id for record in read.splits["train"]] == [f"list/{at}" for at in range(1, len(rows), 2)]
    for number, (reason, reject) in enumerate(zip(bad, read.rejects, strict=True), 1):
        assert (reject.id, reject.row, reject.table) == (f"list/{2 * number}", 2 * number, "list.json")
        assert reject.reason.startswith(reason)
    assert read.ids["train"] == tuple(f"list/{at}" for at in range(1, len(rows) + 1))


def test_where_the_prompt_asks_every_row_needs_its_score_and_brings_its_texts(folder):
    rows = [row("a.mp4", gt_score=50, creator="Ann"), row("b.mp4")]
    read = given(folder, *rows, turns_column=None).asking(["creator"]).read()
    (record,) = read.splits["train"]
    assert (record.label, record.turns, record.texts) == (50, (), {"creator": "Ann"})
    assert [reject.reason for reject in read.rejects] == ["gt_score is empty"]
    with pytest.raises(ConfigError, match=r"prompt\.question names \{maker\}, but .*no column 'maker'"):
        given(folder, *rows).asking(["maker"]).read()
    with pytest.raises(AnnotationError, match="no column 'score'"):
        given(folder, *rows, turns_column=None, label=LabelScale(name="score")).read()


def test_all_questions_about_a_video_stay_on_one_side_also_in_another_list(folder):
    pairs = [row(["a.mp4", "b.mp4"], "<image><image>?"), *[row("c.mp4")] * 3, *[row("b.mp4")] * 2, row("d.mp4")]
    for seed in range(5):
        splits = given(folder, *pairs, val_fraction=0.4, split_seed=seed).load().splits
        sides = {name: {path for record in records for path in record.paths} for name, records in splits.items()}
        assert splits["train"]
        assert splits["val"]
        assert not sides["train"] & sides["val"]
    given(folder, row("c.mp4"), name="val")
    with pytest.raises(AnnotationError, match="list/2: its file is the same as that of val/1 in the val table"):
        given(folder, *pairs, val_path=str(folder / "val.json")).load()


PEAK = """
import resource, sys
from evqa.datasets.llava import LlavaList
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
read = LlavaList(path=sys.argv[1], root=sys.argv[2]).read()
words = sum(len(turn.text) for record in read.splits["train"] for turn in record.turns)
print(len(read.splits["train"]), words / 2**20, peak() - before)
"""


def test_a_long_list_is_held_once(folder):
    """In a process of its own: the peak is that of the records, whose words are nearly all of the file."""
    rows = [row("a.mp4", f"<image><image>{number} {LONG * 40}") for number in range(5000)]
    given(folder, *rows)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, folder / "list.json", folder], check=True, capture_output=True, text=True
    )
    num_records, words, peak = map(float, done.stdout.split())
    assert num_records == 5000
    assert words > 0.9 * (folder / "list.json").stat().st_size / 2**20
    assert peak < words + 16
