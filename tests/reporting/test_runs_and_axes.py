import pytest

from evqa.errors import RunError
from evqa.reporting.axes import axes, setting_name
from evqa.reporting.runs import find_runs, read_run, with_labels


def test_a_run_is_read_with_scores_items_history_and_settings(tmp_path, make_run):
    run = read_run(make_run(tmp_path, modal="v", seed=2), split="val")
    assert (run.name, run.seed, run.label, run.problem) == ("audio_ablation/tiny-v-regression-s2", "2", "ECR", None)
    assert len(run.scores) == len(run.items) == 120
    item = run.items["clip_0003"]
    assert 3 <= item.duration <= 45
    assert item.has_audio in (True, False)
    assert item.title_chars in (0, 17, 34)
    assert run.history[-1]["step"] == 199  # the line that a kill cut short is left out


def test_an_unfinished_run_says_how_far_it_came(tmp_path, make_run):
    run = read_run(make_run(tmp_path, finished=False), split="val")
    assert run.scores is None
    assert run.problem == "no predictions/val.csv (stopped or still running at step 69)"
    assert read_run(make_run(tmp_path, seed=1), split="test").problem == ("no predictions/test.csv; it has val")


def test_a_damaged_prediction_is_a_problem_of_that_run_only(tmp_path, make_run):
    folder = make_run(tmp_path)
    (folder / "predictions" / "val.csv").write_text("Id,ECR\nx,\n")
    assert "1 of 1 scores are not finite: x" in read_run(folder, split="val").problem


def test_runs_are_found_below_a_folder_and_each_once(tmp_path, make_run):
    first, second = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1)
    (first / "wandb" / "offline-run").mkdir(parents=True)
    (first / "wandb" / "offline-run" / "config.yaml").write_text("a: 1")
    assert find_runs([tmp_path, second, first]).folders == [first, second]
    with pytest.raises(RunError, match="absent: not a folder"):
        find_runs([tmp_path, tmp_path / "absent"])


def test_of_several_places_those_without_a_run_are_left_out_and_said(tmp_path, make_run):
    run, empty, file = make_run(tmp_path), tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.touch()
    found = find_runs([empty, run, file])
    assert found.folders == [run]
    assert found.left_out == [
        f"{empty}: no run in it (a run is a folder with a config.yaml); it is left out.",
        f"{file}: not a folder; it is left out.",
    ]
    with pytest.raises(
        RunError, match=r"empty: no run in it \(a run is a folder with a config.yaml\)\. Give run folders"
    ):
        find_runs([empty])


def test_labels_can_come_from_another_table(tmp_path, make_run):
    run = read_run(make_run(tmp_path, targets=False), split="val")
    assert run.items == {}
    (tmp_path / "labels.csv").write_text("Id,ECR\nclip_0000,0.25\nclip_0001,\n")
    labelled = with_labels(run, tmp_path / "labels.csv")
    assert labelled.items["clip_0000"].label == 0.25
    assert len(labelled.items) == 2


def values(tmp_path, *folders):
    return axes([read_run(folder, split="val") for folder in folders])


def test_axes_are_the_overrides_that_differ_and_never_the_seed(tmp_path, make_run):
    found = values(
        tmp_path,
        make_run(tmp_path, modal="a", seed=0, overrides=["modal=a", "seed=0", "model=tiny", "sweep=x"]),
        make_run(tmp_path, modal="v", seed=1, overrides=["modal=v", "seed=1", "model=tiny", "run.name=other"]),
    )
    assert found == [{"modal": "a"}, {"modal": "v"}]
    assert setting_name(found[0]) == "modal=a"
    assert setting_name({}) == "all runs"


def test_a_default_and_the_same_value_given_are_one_setting(tmp_path, make_run):
    found = values(
        tmp_path,
        make_run(tmp_path, modal="av", seed=0, overrides=[]),
        make_run(tmp_path, modal="av", seed=1, overrides=["modal=av"]),
        make_run(tmp_path, modal="v", seed=0, overrides=["modal=v"]),
    )
    assert [one["modal"] for one in found] == ["av", "av", "v"]


def test_a_default_that_no_override_named_is_read_from_the_configuration(tmp_path, make_run):
    rate = {"optimizer": {"_target_": "evqa.training.optimizer.AdamW", "learning_rate": 0.001}}
    found = values(
        tmp_path,
        make_run(tmp_path, modal="av", seed=0, overrides=[], config=rate),
        make_run(
            tmp_path,
            modal="v",
            overrides=["modal=v", "optimizer.learning_rate=0.01"],
            config={"optimizer": {**rate["optimizer"], "learning_rate": 0.01}},
        ),
    )
    assert found == [
        {"modal": "av", "optimizer.learning_rate": "0.001"},
        {"modal": "v", "optimizer.learning_rate": "0.01"},
    ]


def test_what_differs_without_an_override_becomes_an_axis_of_its_own(tmp_path, make_run):
    found = values(
        tmp_path,
        make_run(tmp_path, seed=0, overrides=["seed=0"], config={"schedule": {"warmup": 0.1}, "data": {"workers": 1}}),
        make_run(tmp_path, seed=1, overrides=["seed=1"], config={"schedule": {"warmup": 0.2}, "data": {"workers": 4}}),
    )
    assert found == [{"schedule.warmup": "0.1"}, {"schedule.warmup": "0.2"}]


def test_a_hundred_seeds_of_one_setting_have_no_axis(tmp_path, make_run):
    folders = [make_run(tmp_path, seed=seed) for seed in range(3)]
    assert values(tmp_path, *folders) == [{}, {}, {}]
