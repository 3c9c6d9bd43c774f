"""Given conversations from a table: trained on and validated by the loss of their words, without any label."""

import json

from evqa.config import identity
from evqa.config.compose import compose
from evqa.runs import fit
from evqa.training.folder import RunFolder


def test_a_table_in_llava_s_form_trains_a_conversation_head_and_a_row_without_place_is_a_failure(data, tmp_path):
    videos = sorted((data / "videos").glob("*.mp4"))[:12]
    rows = [
        {
            "id": video.stem,
            "video": video.name,
            "conversations": [
                {"from": "human", "value": "<video>\nHow sharp?" if place else "No place for the video."},
                {"from": "gpt", "value": "Very sharp."},
                {"from": "human", "value": "And loud?"},
                {"from": "gpt", "value": "Not very."},
            ],
        }
        for place, video in enumerate(videos)
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
    (failed,) = record["failures"]
    assert failed["id"] == videos[0].stem
    assert failed["reason"].startswith(
        "the conversation has 0 places for media (<media>), and this record has 1 stream"
    )
