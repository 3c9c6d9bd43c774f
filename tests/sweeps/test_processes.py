"""Several processes of one run, started by Lightning from a member of a sweep."""

import json

import pytest

BODY = """
    import lightning, torch
    class Toy(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
        def training_step(self, batch, index):
            return self.layer(batch).sum()
        def validation_step(self, batch, index):
            self.log("val/challenge", float(-cfg.seed))
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)
    callbacks = []
    if cfg.callbacks.get("pruning"):
        from hydra.utils import instantiate
        callbacks.append(instantiate(cfg.callbacks.pruning))
    trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", devices=2, strategy="ddp", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks)
    data = torch.utils.data.DataLoader(torch.ones(8, 1), 2)
    trainer.fit(Toy(), data, data)
    print(f"rank {trainer.global_rank}: {cfg.run.name}, {trainer.current_epoch} epochs", flush=True)
    trainer.strategy.barrier()
    if trainer.global_rank:
        raise SystemExit(0)
    return -float(cfg.seed)
"""


@pytest.mark.slow
def test_every_process_of_a_member_runs_that_member_and_not_the_sweep(toy):
    code, out, errors = toy.run(BODY, "-m", "seed=0,1")
    assert code == 0, errors
    assert sorted(row[1] for row in toy.trace) == ["0", "0", "1", "1"]
    members = json.loads((toy.runs / "sweeps/default/sweep.json").read_text())
    names = [member["folder"].rpartition("/")[2] for member in members]
    expected = [f"rank {rank}: {name}, 4 epochs" for name in names for rank in (0, 1)]
    assert [out.count(line) for line in expected] == [1] * 4, errors  # two processes may write into one line


@pytest.mark.slow
def test_the_first_process_decides_for_all_that_a_trial_is_stopped(toy):
    pytest.importorskip("optuna", reason="needs the extra 'optuna'")
    search = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=choice(0,9)")
    settings = {"seed": 2, "prune": "true", "startup_trials": 1, "warmup": 0}  # seed 2 proposes 0, then 9
    options = [f"hydra.sweeper.{key}={value}" for key, value in settings.items()]
    code, out, errors = toy.run(BODY, *search, *options)
    assert code == 0, errors
    trials = json.loads((toy.runs / "sweeps/default/trials.json").read_text())
    assert {(trial["params"]["seed"], trial["state"]) for trial in trials} == {("0", "complete"), ("9", "pruned")}
    assert {line.rpartition(", ")[2] for line in out.splitlines() if "s9" in line and line.endswith(" epochs")} == {
        "1 epochs"
    }
