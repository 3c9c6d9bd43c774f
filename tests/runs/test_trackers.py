"""TensorBoard, MLflow and Trackio hold what metrics.jsonl holds, each where its package is installed."""

import json
from importlib.util import find_spec

import pytest

from evqa.errors import MissingDependencyError
from evqa.runs import trackers
from evqa.training.callbacks.records import read_rows
from evqa.training.module import ScoreModule


def read_tensorboard(run, place):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return [(name, one.step, one.value) for name in events.Tags()["scalars"] for one in events.Scalars(name)]


def database(place):
    return f"sqlite:///{place}/mlflow.db"


def read_mlflow(run, place):
    from mlflow import MlflowClient

    client = MlflowClient(database(place))
    (found,) = client.search_runs([client.get_experiment_by_name("evqa").experiment_id])
    assert (found.info.run_name, found.info.status) == (run.name, "FINISHED")
    assert found.data.params["model/width"] == "16"
    histories = [client.get_metric_history(found.info.run_id, name) for name in found.data.metrics]
    return [(one.key, one.step, one.value) for history in histories for one in history]


def read_trackio(run, place):
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (found,) = trackio.Api().runs("evqa")
    assert found.name == run.name
    rows = SQLiteStorage.get_logs("evqa", found.name)
    return [(name, row["step"], row[name]) for row in rows for name in row.keys() - {"step", "timestamp"}]


READERS = {"tensorboard": (read_tensorboard, ()), "mlflow": (read_mlflow, ("uri",)), "trackio": (read_trackio, ())}


@pytest.mark.filterwarnings("ignore")  # theirs, not ours
@pytest.mark.parametrize("name", READERS)
def test_a_tracker_holds_one_whole_history_of_an_interrupted_run(train, tmp_path, monkeypatch, capfd, name):
    if not find_spec(name):
        pytest.skip(f"the extra '{name}' is not installed")
    read, keys = READERS[name]
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    step = ScoreModule.training_step

    def stopping(self, batch, index):
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, index)

    options = (f"logger={name}", f"run.root={tmp_path}", "trainer.log_every=1", "data.batch_size=8")
    options += (
        "callbacks.checkpoints.every_steps=2",
        *(f"logger.{key}=sqlite:///{tmp_path}/mlflow.db" for key in keys),
    )
    with monkeypatch.context() as patched:
        patched.setattr(ScoreModule, "training_step", stopping)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(*options)
    run = train(*options)
    assert "not used" not in capfd.readouterr().err
    rows = read_rows(run.path / "metrics.jsonl")
    wanted = [(key, row["step"], value) for row in rows for key, value in row.items() if key != "step"]
    metrics = json.loads(run.prediction("val", "json").read_text())["metrics"]
    found = read(run.path, tmp_path)
    sent = [one for one in found if not one[0].startswith("best/")]
    assert [one[:2] for one in sorted(sent)] == [one[:2] for one in sorted(wanted)]
    values = [one[2] for one in sorted(wanted)]
    assert [one[2] for one in sorted(sent)] == pytest.approx(values, rel=1e-6)  # TensorBoard has float32
    best = {key: value for key, _, value in found if key.startswith("best/")}
    assert best["best/val/challenge"] == pytest.approx(metrics["challenge"]["value"])
    assert best["best/val/n"] == 16


@pytest.mark.parametrize(
    ("name", "package"), [("TensorBoard", "tensorboard"), ("MLflow", "mlflow"), ("Trackio", "trackio")]
)
def test_a_package_that_is_missing_is_named_with_its_extra_before_anything_begins(
    train, tmp_path, monkeypatch, name, package
):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as raised:
        train(f"logger={package}", f"run.root={tmp_path}")
    assert str(raised.value) == f"logger={package} needs {name}: pip install 'evqa[{package}]'."
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_breaks_is_given_up_with_one_sentence(tmp_path, monkeypatch, capsys):
    def broken(*given, **more):
        raise ConnectionError("nobody there\nat all")

    log = trackers.SimpleLog("MLflow", broken, broken)
    for number in range(3):
        log.log(number, {"step": number, "train/loss": 1.0})
    log.finish()
    monkeypatch.setattr(trackers.TensorBoard, "begin_anew", broken)
    assert trackers.TensorBoard().begin(tmp_path, {}, monitor="val/challenge") is None
    assert capsys.readouterr().err.splitlines() == [
        "Warning: MLflow is not used from here on: nobody there. metrics.jsonl has everything.",
        "Warning: TensorBoard is not used: nobody there. metrics.jsonl has everything.",
    ]
