import json

import pytest

pytest.importorskip("optuna", reason="needs the extra 'optuna'")

SPACE = "optimizer.learning_rate=tag(log,interval(1e-4,1))"
SCORE = "return -abs(cfg.optimizer.learning_rate - 0.01)"


def search(n_trials, *more):
    return ("-m", "hydra/sweeper=optuna", f"hydra.sweeper.n_trials={n_trials}", SPACE, *more)


def trials(toy):
    return json.loads((toy.runs / "sweeps/default/trials.json").read_text())


def test_a_failed_trial_is_recorded_with_its_reason_and_counts(toy):
    body = f"""
        if cfg.frames.count == 2: raise RunError("two frames are too few")
        if cfg.frames.count == 3: return float("nan")
        {SCORE}
    """
    code, _, errors = toy.run(body, *search(6, "frames.count=choice(2,3,4)"))
    assert code == 0, errors
    found = {trial["params"]["frames.count"]: (trial["state"], trial["error"]) for trial in trials(toy)}
    assert len(trials(toy)) == len(toy.trace) == 6
    assert found["2"] == ("fail", "two frames are too few")
    assert found["3"] == ("fail", "The run's score is nan; a search needs a number.")
    assert found["4"] == ("complete", None)


def test_a_killed_search_goes_on_and_proposes_what_an_uninterrupted_one_does(toy, tmp_path_factory):
    slow = f"""
        if len((Path(cfg.run.root) / "trace").read_text().splitlines()) == 3 and "SLOW" in os.environ: time.sleep(60)
        {SCORE}
    """
    toy.kill_after(3, slow, *search(5), SLOW="1")
    code, _, errors = toy.run(slow, *search(5))
    assert code == 0, errors
    assert "2 of 5 trials have ended" in errors
    assert "going on with trials 2" in errors
    assert [trial["number"] for trial in trials(toy)] == [0, 1, 2, 3, 4]
    assert {trial["state"] for trial in trials(toy)} == {"complete"}
    rates = [row[2] for row in toy.trace]
    assert rates[2] == rates[3]  # the killed trial, again

    other = type(toy)(tmp_path_factory.mktemp("uninterrupted"))
    assert other.run(SCORE, *search(5))[0] == 0
    assert [row[2] for row in other.trace] == rates[:3] + rates[4:]


def test_a_finished_search_runs_nothing_and_a_larger_total_goes_on(toy):
    assert toy.run(SCORE, *search(2))[0] == 0
    code, _, errors = toy.run(SCORE, *search(2))
    assert (code, len(toy.trace)) == (0, 2)
    assert "2 of 2 trials have ended" in errors
    assert toy.run(SCORE, *search(3))[0] == 0
    assert len(toy.trace) == 3


def test_whole_numbers_and_options_are_searched_too(toy):
    space = ("frames.count=int(interval(4,8))", "head=regression,levels", "trainer.epochs=range(1,9,4)")
    code, _, errors = toy.run("return cfg.frames.count", *search(4, *space))
    assert code == 0, errors
    for trial in trials(toy):
        assert trial["value"] == trial["params"]["frames.count"]
        assert trial["params"]["head"] in ("regression", "levels")
        assert trial["params"]["trainer.epochs"] in (1, 5)


def test_a_search_needs_a_space(toy):
    code, _, errors = toy.run("pass", "-m", "hydra/sweeper=optuna", "seed=1")
    assert code == 2
    assert errors == "hydra/sweeper=optuna: nothing is searched. Give a key an interval or several values.\n"


def test_the_direction_is_that_of_what_a_run_returns(toy):
    code, _, errors = toy.run("return 1.0", *search(1, "head=conversation", "callbacks=loss"))
    assert (code, toy.trace) == (2, [])
    assert errors == (
        "hydra.sweeper.direction=maximize: with callbacks.checkpoints.monitor=val/loss a run returns its loss. Write "
        "hydra.sweeper.direction=minimize.\n"
    )
    downward = search(2, "head=conversation", "callbacks=loss", "hydra.sweeper.direction=minimize")
    code, _, errors = toy.run("return cfg.optimizer.learning_rate", *downward)
    assert (code, len(toy.trace)) == (0, 2), errors
    code, _, errors = toy.run("return 1.0", *search(1, "hydra.sweeper.direction=minimize"))
    assert "a run returns its score. Write hydra.sweeper.direction=maximize." in errors


def test_a_search_without_any_score_has_failed(toy):
    assert toy.run("raise RunError('no')", *search(2))[0] == 1
