import pytest
from omegaconf import OmegaConf

from evqa.config.check import check

DATA = """
    class SnapUGC:
        def __init__(self, *, csv: str, label: str = "ECR") -> None: ...
    class Loading:
        def __init__(self, *, batch_size: int = 8) -> None: ...
    class Sum:
        def __init__(self, *, terms: dict[str, "Sum"] | None = None, weights: dict[str, float] = {}) -> None: ...
"""


@pytest.fixture
def problems(module):
    """Problems of a node `data` (and of further root keys) of which the class is SnapUGC, with Loading beside it."""
    name = module(DATA)

    def run(data, **root):
        cfg = OmegaConf.create({"data": {"_target_": f"{name}.SnapUGC"} | data, **root})
        return check(cfg, groups=("data", *root), plain_nodes={}, companions={"data": f"{name}.Loading"}).problems

    run.module = name
    return run


def test_a_complete_node_has_no_problems(problems):
    assert problems({"csv": "a.csv", "batch_size": 4}) == []


def test_unknown_missing_and_ill_typed_keys_are_reported_together(problems):
    assert problems({"bath_size": 8, "batch_size": "eight", "label": "???"}) == [
        "data.bath_size: SnapUGC takes no argument 'bath_size'. Did you mean 'batch_size'?",
        "data.batch_size: expected int, got 'eight'.",
        "data.label: needs a value (expected str).",
        "data.csv: SnapUGC needs it and it is not set (expected str).",
    ]


def test_an_interpolation_that_leads_nowhere_is_reported_with_its_key(problems):
    (problem,) = problems({"csv": "${nowhere.csv}"})
    assert problem == "data.csv: cannot be worked out: Interpolation key 'nowhere.csv' not found."


def test_values_are_checked_after_interpolation(problems):
    assert problems({"csv": "a", "batch_size": "${data.label}", "label": "x"}) == [
        "data.batch_size: expected int, got 'x'."
    ]


def test_a_class_that_does_not_exist_is_reported(problems):
    assert problems({"csv": "a"}, loss={"_target_": f"{problems.module}.Summ"}) == [
        f"loss._target_: {problems.module} has no 'Summ'. Did you mean 'Sum'?"
    ]


def test_nested_nodes_are_checked_and_names_of_the_users_own_are_allowed(problems):
    target = f"{problems.module}.Sum"
    loss = {"_target_": target, "weights": {"mine": 1.0}, "terms": {"plcc": {"_target_": target, "wieghts": {}}}}
    assert problems({"csv": "a"}, loss=loss) == [
        "loss.terms.plcc.wieghts: Sum takes no argument 'wieghts'. Did you mean 'weights'?"
    ]


def test_values_that_nothing_reads_are_reported(problems):
    assert problems({"csv": "a"}, callbacks={"checkpoint": {"every": 3}, "stopping": None}) == [
        "callbacks.checkpoint.every: nothing reads it, because 'callbacks.checkpoint' has no _target_."
    ]


def test_root_keys_are_checked_without_any_class():
    cfg = OmegaConf.create(
        {
            "sead": 1,
            "seed": "a",
            "run": {"root": "runs", "nam": "x"},
            "modal": {"name": "b", "dropout": 1.0},
            "resume": "no",
        }
    )
    assert check(cfg).problems == [
        "sead: the configuration has no such key. Did you mean 'seed'?",
        "seed: expected int, got 'a'.",
        "resume: expected one of 'auto', 'never', got 'no'.",
        "run.nam: run takes no argument 'nam'. Did you mean 'name'?",
        "modal.name: expected one of 'a', 'v', 'av', got 'b'.",
        "modal.dropout: expected float with 0 <= dropout < 1, got 1.0.",
    ]
