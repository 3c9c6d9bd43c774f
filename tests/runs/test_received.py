"""A run folder that came from somebody else chooses neither what code runs nor where files are written."""

import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf

import evqa
from evqa.config.compose import compose
from evqa.errors import ConfigError, MissingDependencyError, RunError
from evqa.reporting.runs import read_run
from evqa.runs import fit
from evqa.runs.evaluation import evaluate_split
from evqa.runs.merging import export_run
from evqa.runs.settings import TrainerSettings
from evqa.scoring.prediction import predict
from evqa.scoring.request import Request
from evqa.training.callbacks.checkpoint_files import read_checkpoint
from evqa.training.model_with_head import METADATA


@pytest.fixture
def received(finished, tmp_path, monkeypatch):
    """Copy a finished run, change keys of its file, and stand in an empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def make(changes):
        shutil.copytree(finished.path, tmp_path / "run")
        config = OmegaConf.load(finished.path / "config.yaml")
        for key, value in changes.items():
            OmegaConf.update(config, key, value, force_add=True)
        OmegaConf.save(config, tmp_path / "run/config.yaml")
        _tell_checkpoint(tmp_path / "run/checkpoints/best.ckpt", config)
        return tmp_path / "run"

    return make


def _tell_checkpoint(path, config):
    """Put the changed settings into the checkpoint too: who changes one file may change the other."""
    state = read_checkpoint(path)
    state[METADATA]["config"] = OmegaConf.to_yaml(config)
    torch.save(state, path)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


COMMANDS = {
    "eval": lambda run, video: evaluate_split(run, split="val", modal=None, checkpoint="best", overrides=[]),
    "predict": lambda run, video: predict(Request(inputs=[video], scorer=run)),
    "merge": lambda run, video: export_run(run, out=run.parent / "here/out"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_code_in_it_is_refused_before_anything_is_built(received, workplace, command):
    touch = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": ["touched"]}}
    run = received({"loss": touch})
    video = next((workplace / "synthetic").glob("v*-40-16/videos/*.mp4"))
    with pytest.raises(ConfigError, match=r"config.yaml: loss._target_: pathlib.Path.touch is no class of evqa"):
        COMMANDS[command](run, video)
    assert files(run.parent / "here") == []


@pytest.mark.parametrize("command", ["eval", "predict"])
@pytest.mark.parametrize("existing", [True, False])  # and one of the two lies here, but is not relative
def test_places_elsewhere_are_only_read_and_that_is_said(received, workplace, tmp_path, capsys, command, existing):
    elsewhere = tmp_path / "elsewhere"
    if existing:
        elsewhere.mkdir()
    run = received({"data.prepared": f"{tmp_path}/here/a", "data.cache.folder": "../elsewhere/b"})
    video = next((workplace / "synthetic").glob("v*-40-16/videos/*.mp4"))
    COMMANDS[command](run, video)
    note = "Note: data.cache.folder=../elsewhere/b is the choice of the run's file and only read. To let scoring"
    assert note in capsys.readouterr().err
    assert files(tmp_path / "here") == []
    assert not elsewhere.exists() or files(elsewhere) == []


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_scoring_makes_no_folder_in_the_working_directory(received, workplace, tmp_path, capsys, command):
    run = received({"data.prepared": "known", "data.cache.folder": "clips"})
    COMMANDS[command](run, next((workplace / "synthetic").glob("v*-40-16/videos/*.mp4")))
    assert files(tmp_path / "here") == []
    assert "only read" not in capsys.readouterr().err


def test_folders_below_the_working_directory_or_named_by_the_user_are_written(received, workplace, tmp_path):
    run = received({"data.prepared": "known", "data.cache.folder": "clips"})
    (tmp_path / "here/clips").mkdir()
    overrides = [f"data.prepared={tmp_path}/mine"]
    evaluate_split(run, split="val", modal=None, checkpoint="best", overrides=overrides)
    assert len(files(tmp_path / "here/clips")) > 1
    assert [path.name for path in (tmp_path / "mine").glob("*/*")] == ["manifest.csv"]


def test_clips_are_made_only_where_the_user_says(received, tmp_path):
    run = received({"data.folder": f"{tmp_path}/elsewhere"})
    with pytest.raises(
        ConfigError, match=r"data.folder=.*elsewhere: the run's clips are not there.* --override data.f"
    ):
        COMMANDS["eval"](run, None)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["predictions", "predictions/val.csv"])
def test_a_link_in_it_leads_nowhere(received, tmp_path, name):
    run = received({})
    target = tmp_path / "mine"
    shutil.move(run / name, target)
    (run / name).symlink_to(target)
    before = target.stat().st_mtime_ns
    with pytest.raises(RunError, match=rf"{name}: a link that leads out of the run's folder. Remove it."):
        COMMANDS["eval"](run, None)
    assert target.stat().st_mtime_ns == before


def test_a_report_reads_no_more_than_values(received):
    run = received({"loss": {"_target_": "os.getcwd"}})
    assert read_run(run, split="val").config["loss"] == {"_target_": "os.getcwd"}
    (run / "config.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(RunError, match=r"config.yaml: cannot be read as YAML \(could not determine a constructor"):
        read_run(run, split="val")


def test_values_from_the_environment_are_used_but_not_written(small, workplace, tmp_path, monkeypatch, capsys):
    """Trained, found again and scored with the same variables; another value is another run."""
    secret = "s3cr3t-place"
    (tmp_path / secret).mkdir()
    monkeypatch.setenv("EVQA_TEST_PLACE", f"{tmp_path}/{secret}")
    monkeypatch.setenv("EVQA_TEST_EPOCHS", "1")
    given = [
        *[one for one in small if not one.startswith(("data.prepared", "trainer.epochs"))],
        "data.prepared=${oc.env:EVQA_TEST_PLACE}/known",
        'trainer.epochs="${oc.decode:${oc.env:EVQA_TEST_EPOCHS}}"',
        f"run.root={tmp_path}/runs",
        "run.name=mine",
    ]
    fit.run(compose(given))
    assert "not recorded with their values: data.prepared, trainer.epochs." in capsys.readouterr().out.replace(
        "\n", " "
    )
    run = tmp_path / "runs/default/mine"
    config = OmegaConf.load(run / "config.yaml")
    assert OmegaConf.to_container(config)["trainer"]["epochs"] == "${oc.decode:${oc.env:EVQA_TEST_EPOCHS}}"
    for path in run.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    fit.run(compose(given))
    assert "finished already" in capsys.readouterr().out
    assert evaluate_split(run, split="val", modal=None, checkpoint="best", overrides=[])["n"] == 16
    monkeypatch.setenv("EVQA_TEST_EPOCHS", "2")
    with pytest.raises(RunError, match=r"other values from the environment \(data.prepared, trainer.epochs\)"):
        fit.run(compose(given))
    monkeypatch.delenv("EVQA_TEST_EPOCHS")
    with pytest.raises(ConfigError, match=r"trainer.epochs: cannot be worked out: .*'EVQA_TEST_EPOCHS' not found"):
        COMMANDS["eval"](run, None)


@pytest.mark.parametrize("given", ["trainer.precision=32", 'trainer.precision="32"'])
def test_precision_is_one_setting_however_it_is_written(small, given):
    assert compose([*small, given]).trainer.precision == "32"


def test_weights_in_bfloat16_train_and_score_alike_everywhere(train, workplace, tmp_path):
    run = train("trainer.precision=bf16-true", f"run.root={tmp_path}")
    record = evaluate_split(run.path, split="val", modal="av", checkpoint="best", overrides=[])
    trained = json.loads(run.prediction("val", "json").read_text())
    assert record["metrics"] == trained["metrics"]
    home = next((workplace / "synthetic").glob("v*-40-16"))
    predict(Request(inputs=[home / "val.csv"], videos=home / "videos", scorer=run.path, out=tmp_path / "o.csv"))
    assert (tmp_path / "o.csv").read_text() == run.prediction("val").read_text()


def test_bfloat16_without_autocasting_scores_and_does_not_train(small, finished):
    with pytest.raises(ConfigError, match=r"trainer\.precision=bf16-pure is for scoring .* Train with bf16-true"):
        fit.run(compose([*small, "trainer.precision=bf16-pure"]))
    scorer = evqa.load(finished.path, overrides=["trainer.precision=bf16-pure"])
    assert next(scorer.module.model.parameters()).dtype == torch.bfloat16


def test_a_dry_run_refuses_what_only_classes_themselves_can_tell(small):
    given = ["dry_run=true", "data.folds=3", "data.fold=3", "loss=mse_plcc", "loss.weights=[1.0]"]
    with pytest.raises(ConfigError) as caught:
        fit.run(compose([*small, *given]))
    assert caught.value.problems == [
        "data.fold=3: with data.folds=3 give 0 to 2.",
        "loss.terms has 2 losses and loss.weights 1 numbers: one each.",
    ]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"accelerator": "gpu"}, "trainer.accelerator=gpu: this machine has no GPU that torch can use."),
        ({"accelerator": "gpu", "devices": 4}, "trainer.accelerator=gpu: this machine has no GPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_told_before_the_data_are_read(monkeypatch, settings, sentence):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match=sentence):
        TrainerSettings(**settings).check_devices()
    with pytest.raises(ConfigError, match=r"Write --override trainer.accelerator=cpu"):
        TrainerSettings(**settings).check_devices(scoring=True)


def test_kernels_and_compiling_that_this_machine_cannot_run_are_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(
        ConfigError, match=r"trainer.kernels=liger: its kernels need a CUDA GPU. Write trainer.kernels=torch"
    ):
        TrainerSettings(kernels="liger").check_devices()
    TrainerSettings(compile=True).check_devices()
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"trainer.compile=true: torch.compile needs a C.. compiler on a CPU"):
        TrainerSettings(compile=True).check_devices()
    TrainerSettings(kernels="liger", compile=True).check_devices(scoring=True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("evqa.runs.settings.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'evqa\[liger\]'"):
        TrainerSettings(kernels="liger").check_devices()


def test_more_gpus_than_there_are_is_told_and_scoring_takes_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    settings = TrainerSettings(accelerator="gpu", devices=4)
    with pytest.raises(ConfigError, match=r"trainer.devices=4: this machine has 2. Write trainer.devices=2"):
        settings.check_devices()
    settings.check_devices(scoring=True)
    TrainerSettings(accelerator="cpu", devices=4).check_devices()
