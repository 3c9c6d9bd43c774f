"""Artifacts in offline W&B runs: what a run makes, and that an ensemble uses just that."""

import os

import pytest

from evqa import ensemble
from evqa.runs.wandb_ensemble import logged_members
from tests.runs import offline


@pytest.fixture(scope="module", autouse=True)
def apart(tmp_path_factory):
    """Whatever the user's own environment says about W&B, and nothing among the user's files."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patched.delenv(name)
        patched.setenv("WANDB_ERROR_REPORTING", "false")
        patched.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module")
def logged(train, tmp_path_factory):
    """Two runs with artifacts; files of more than 10 kB are referred to."""
    root = tmp_path_factory.mktemp("logged")
    options = ("logger=wandb", "logger.mode=offline", "logger.artifacts=true", "logger.upload_megabytes=0.01")
    return [train(*options, f"run.root={root}", "trainer.epochs=1", f"seed={seed}") for seed in (0, 1)]


def artifacts(place):
    import wandb

    wandb.teardown()  # its own process writes the file a moment after the run is finished
    (file,) = place.glob("wandb/offline-run-*/run-*.wandb")
    return offline.load(file)


def test_a_run_makes_artifacts_of_its_checkpoint_and_predictions(logged):
    run = logged[0]
    found = artifacts(run.path)["artifacts"]
    id_ = (run.path / "wandb/id").read_text().strip()
    assert {name: one.type for name, one in found.items()} == {
        f"checkpoint-{id_}": "model",
        f"predictions-{id_}-val": "predictions",
    }
    best = run.path / "checkpoints/best.ckpt"
    assert offline.contents(found[f"checkpoint-{id_}"]) == {"best.ckpt": f"file://{best}"}
    files = offline.contents(found[f"predictions-{id_}-val"])
    assert files == {name: str(run.path / "predictions" / name) for name in ("val.csv", "val.json", "val.targets.csv")}
    assert not any(one.use_after_commit for one in found.values())


def test_an_ensemble_uses_the_versions_that_its_runs_have_made(logged, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_bytes(logged[0].prediction("val").read_bytes())
    places = [str(run.path) for run in logged]
    assert ensemble.main([*places, str(other), "--wandb", "--out", str(tmp_path / "all.csv")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "W&B does not know where the predictions of other come from." in told
    assert f"Wrote {tmp_path}/wandb/offline-run-" in told
    found = artifacts(tmp_path)
    made = [name for name, one in found["artifacts"].items() if not one.use_after_commit]
    assert made == [f"ensemble-{found['run']['id']}"]
    assert set(offline.contents(found["artifacts"][made[0]])) == {"all.csv", "all.json"}
    for run in logged:
        theirs = artifacts(run.path)["artifacts"]
        (name,) = [name for name in theirs if name.startswith("predictions-")]
        assert found["artifacts"][name].use_after_commit
        assert found["artifacts"][name].digest == theirs[name].digest
    assert found["summary"]["val/n"] == 16


def test_runs_of_two_projects_are_refused_before_anything_is_written(logged, train, tmp_path, capsys):
    other = train(
        "logger=wandb", "logger.mode=offline", "logger.project=two", f"run.root={tmp_path}", "trainer.epochs=1"
    )
    out = tmp_path / "all.csv"
    assert ensemble.main([str(logged[0].path), f"b={other.path}", "--wandb", "--out", str(out)]) == 2
    assert "b lies in two; W&B's lineage stays within one project" in capsys.readouterr().err
    assert not out.exists()


def test_a_member_that_is_made_of_folds_uses_the_predictions_of_all_their_runs(tmp_path):
    files = []
    for fold in range(3):
        folder = tmp_path / f"f{fold}"
        (folder / "wandb").mkdir(parents=True)
        (folder / "config.yaml").write_text("logger: {project: one, entity: null}\n")
        if fold < 2:
            (folder / "wandb" / "id").write_text(f"id{fold}\n")
        files.append(folder / "predictions" / "val.csv")
    whole = logged_members({"of folds": files[:2], "csv": [tmp_path / "other.csv"]})
    assert whole.runs == ((tmp_path / "f0", "id0"), (tmp_path / "f1", "id1"))
    assert (whole.project, whole.others) == ("one", ("csv",))
    assert logged_members({"of folds": files}).others == ("of folds",)  # one of its runs is not known
