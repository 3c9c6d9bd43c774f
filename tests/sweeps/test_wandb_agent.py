"""W&B's own agent runs the example sweep; only its server, which proposes the settings, is played here."""

import json
import multiprocessing
import os
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from evqa.config.compose import compose
from tests.runs import offline

EXAMPLE = Path(__file__).parents[2] / "sweeps/wandb_agent.yml"


@pytest.fixture
def example(little):
    """The example sweep on a few clips."""
    sweep = yaml.safe_load(EXAMPLE.read_text())
    options = [one for one in little if one != "logger=csv"]
    sweep["command"][-1:-1] = [*options, "data.workers=0", "logger.artifacts=true"]
    return sweep


def proposal(parameters, end):
    """The lower (0) or the upper (-1) end of every parameter of a sweep."""
    name = ("min", "max")[end]
    return {
        key: one["values"][end] if "values" in one else one.get(name, one.get("value"))
        for key, one in parameters.items()
    }


@pytest.mark.parametrize("end", [0, -1])
def test_every_end_of_the_example_composes(end):
    settings = proposal(yaml.safe_load(EXAMPLE.read_text())["parameters"], end)
    compose([f"{key}={value}" for key, value in settings.items()])


@pytest.mark.slow
def test_an_agent_runs_the_example_and_each_run_reports_its_result(example, tmp_path, monkeypatch):
    import wandb
    from wandb.apis.public import sweeps
    from wandb.wandb_agent import Agent

    settings = proposal(example["parameters"], -1) | {"trainer.epochs": 1}
    arguments = {key: {"value": value} for key, value in settings.items()}
    queue = [{"type": "run", "run_id": name, "program": None, "args": arguments} for name in ("first", "again")]
    monkeypatch.setattr(sweeps, "_sweep_with_runs", lambda *_: {"config": yaml.safe_dump(example)})
    monkeypatch.setattr(sweeps, "_register_agent", lambda *_, **__: {"id": "agent"})
    monkeypatch.setattr(
        sweeps, "_agent_heartbeat", lambda api, agent, metrics, running: [] if running else [queue.pop(0)]
    )
    monkeypatch.setattr(wandb, "Api", lambda: None)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {"SWEEP_ID": "sweep", "MODE": "offline", "ERROR_REPORTING": "false", "DATA_DIR": "data"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ):  # the agent leaves its runs' ids behind
        Agent(None, multiprocessing.Queue(), sweep_id="sweep", count=2).run()
    (run,) = tmp_path.glob("runs/wandb_agent/*")
    record = json.loads((run / "predictions/val.json").read_text())
    files = [*run.glob("wandb/offline-run-*/run-*.wandb")]
    found = {one["run"]["id"]: one for one in map(offline.load, files)}
    assert set(found) == {"first", "again"}  # the second proposal is a finished combination, and reports at once
    for name, one in found.items():
        assert one["summary"]["val/challenge"] == record["metrics"]["challenge"]["value"]
        assert f"predictions-{name}-val" in one["artifacts"]
