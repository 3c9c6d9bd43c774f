"""Given conversations from a table: trained on and validated by the loss of their words, without any label."""

import csv
import json
import shutil
from collections import Counter

from PIL import Image

from evqa.config import identity
from evqa.config.compose import compose
from evqa.media.decoding import decode_isolated
from evqa.runs import fit, preparation
from evqa.training.folder import RunFolder
from evqa.training.plan import read_data_plan

UNEVEN = (3, 1, 2, 4)  # questions about a file


def llava_options(home, data, workplace):
    """Overrides of a small training as VQA2's third stage: a list about videos, pairs and images, all frames read."""
    videos = sorted(path.name for path in (data / "videos").glob("*.mp4"))[:8]
    (home / "media").mkdir(exist_ok=True)
    for name in videos:
        shutil.copy(data / "videos" / name, home / "media")
    Image.new("RGB", (40, 30), "red").save(home / "media/still.png")
    asked = [([name], number) for at, name in enumerate(videos) for number in range(UNEVEN[at % 4])]
    rows = [
        about(files, f"{'<image>' * 2 * len(files)}Question {number}?", "fine " * (number + 1))
        for files, number in [*asked, (videos[:2], 0), (videos[6:], 2)]
    ]
    rows += [about(["still.png"], "<image>?", "Red.")]
    del rows[-1]["frames per sec"]
    bad = [about(["gone.mp4"], "<image><image>?", "No."), about(videos[:1], "?", "No place.")]
    (home / "list.json").write_text(json.dumps([*rows[::2], *bad, *rows[1::2]]))
    return (
        *("model=vqa2_tiny", "modal=v", "frames=each_second", "head=conversation", "callbacks=loss", "logger=csv"),
        *("data=llava", f"data.path={home}/list.json", f"data.root={home}/media", "data.val_fraction=0.3"),
        *(f"data.prepared={workplace}/prepared", f"data.cache.folder={workplace}/clips", "data.workers=1"),
        *("trainer.accelerator=cpu", "trainer.precision=32", "trainer.progress=false", "trainer.log_every=1"),
    )


def about(files, question, answer):
    said = [("human", question), ("gpt", answer), ("human", "Sure?"), ("gpt", "Yes.")]
    turns = [{"from": role, "value": words} for role, words in said]
    return {"image": files if len(files) > 1 else files[0], "frames per sec": 1, "conversations": turns}


def test_a_table_in_llava_s_form_trains_a_conversation_head_and_a_place_too_many_is_a_failure(data, tmp_path):
    videos = sorted((data / "videos").glob("*.mp4"))[:12]
    questions = ["<video>\n<video>\nHow sharp?", "Without a place: how sharp?", *["<video>\nHow sharp?"] * 10]
    rows = [
        {
            "id": video.stem,
            "video": video.name,
            "conversations": [
                {"from": "human", "value": question},
                {"from": "gpt", "value": "Very sharp."},
                {"from": "human", "value": "And loud?"},
                {"from": "gpt", "value": "Not very."},
            ],
        }
        for video, question in zip(videos, questions, strict=True)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = compose(
        [
            *("data=table", f"data.path={tmp_path}/t.jsonl", f"data.root={data}/videos", "data.label.range=[0,1]"),
            *("data.path_column=video", "data.turns_column=conversations", "data.val_fraction=0.5"),
            *("data.max_failures=0.5", f"data.prepared={tmp_path}/prepared", f"run.root={tmp_path}/runs"),
            *("head=conversation", "callbacks=loss", "trainer.epochs=1", "trainer.progress=false", "logger=csv"),
            *("data.cache.folder=null", "model.width=16"),
        ]
    )
    loss = fit.run(config)
    run = RunFolder(identity.folder(config))
    record = json.loads(run.prediction("val", "json").read_text())
    assert record["metrics"]["loss"]["value"] == loss > 0
    learned = len("Very sharp.") + len("Not very.") + 2  # bytes, and the end of each answer
    assert record["num_tokens"] == learned * record["n"]
    assert record["n"] in (5, 6)
    assert not run.prediction("val").exists()
    (failed,) = record["failures"] + record["train_failures"]  # the division says which split it would have been of
    assert failed["id"] == videos[0].stem
    assert failed["reason"].startswith(
        "the conversation has 2 places for media (<media>), and this record has 1 stream"
    )


def test_a_list_is_learned_with_its_bad_rows_told_and_every_file_decoded_once_an_epoch(
    data, workplace, tmp_path, monkeypatch, capfd
):
    quick = ("model.motion=null", "data.cache.folder=null", "trainer.epochs=2", f"run.root={tmp_path}/runs")
    config = compose([*llava_options(tmp_path, data, workplace), *quick])
    preparation.run(config)
    dataset = read_data_plan(config).dataset
    rejects = list(csv.DictReader((dataset.prepared_folder() / "rejects.csv").read_text().splitlines()))
    assert [row["id"] for row in rejects] == ["list/13", "list/14"]
    assert rejects[0]["reason"].startswith("no video gone.mp4")
    assert rejects[1]["reason"].startswith("its conversation has 0 places for media (<image>), and it names 1 file")

    decoded = Counter()

    def counted(path, *more, **options):
        decoded[path] += 1
        return decode_isolated(path, *more, **options)

    monkeypatch.setattr("evqa.media.cache.decode_isolated", counted)
    fit.run(config)
    learned = {record.paths for record in dataset.load().splits["train"]}
    expected = Counter(path for paths in learned for path in paths for _ in range(2))
    assert {path: decoded[path] for path in expected} == expected
    assert "list/13: no video gone.mp4" in " ".join(capfd.readouterr().out.split())
