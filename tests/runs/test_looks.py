"""A held-out test split is scored once; every further way to score it is counted and told."""

import json

from evqa.eval import main

LOOK = "look {} at the test split"


def test_a_second_look_at_the_test_split_is_recorded_and_told_and_the_same_again_is_none(train, tmp_path, capsys):
    folder = train("data.test_fraction=0.3", f"run.root={tmp_path}")
    assert json.loads(folder.prediction("test", "json").read_text())["look"] == 1
    assert "look" not in json.loads(folder.prediction("val", "json").read_text())
    assert "at the test split" not in capsys.readouterr().out
    looks = folder.prediction("test", "looks.jsonl")

    for arguments, number in (([], 1), (["--modal", "v"], 2), (["--modal", "v"], 2), (["--modal", "a"], 3)):
        main([str(folder.path), "--split", "test", *arguments])
        assert (LOOK.format(number) in capsys.readouterr().out) == (number > 1)
        rows = [json.loads(line) for line in looks.read_text().splitlines()]
        assert len(rows) == number
    assert [row["modal"] for row in rows] == ["av", "v", "a"]

    main([str(folder.path), "--split", "val"])
    assert "at the test split" not in capsys.readouterr().out
    assert len(looks.read_text().splitlines()) == 3
