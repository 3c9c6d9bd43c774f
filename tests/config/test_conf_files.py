"""Every configuration file, found by listing the folders."""

import pytest
from hydra.types import RunMode

from evqa.config.check import check
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.config.paths import conf_folder, group_folders, group_options

# Nested groups (data/loading) are composed with the groups that use them.
GROUPS = {group: group_options(folder) for group, folder in group_folders(conf_folder()).items() if "/" not in group}


@pytest.fixture(scope="module")
def composer():
    return open_configuration("train")


@pytest.mark.parametrize("choice", [f"{group}={option}" for group, options in GROUPS.items() for option in options])
def test_every_option_composes_and_every_key_fits_its_class(composer, choice):
    cfg = composer.compose([choice, *company(composer, choice)])
    problems = check(cfg, groups=tuple(composer.groups)).problems
    assert [problem for problem in problems if "needs a value" not in problem] == []


def company(composer, choice):
    """A protocol's prompt sets keys of a model that takes a motion stream."""
    if not choice.startswith("prompt=vqa2_"):
        return []
    able = [name for name, schema in composer.alternatives("model").items() if "motion" in schema.parameters]
    return [f"model={able[0]}"] if able else pytest.skip("no model of conf/model takes a motion stream")


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_option_opens_with_a_comment_or_is_its_class(group):
    for file in group_folders(conf_folder())[group].glob("*.yaml"):
        first = file.read_text().splitlines()[0]
        assert first.startswith(("#", "_target_", "defaults", "checkpoints")), file


@pytest.mark.parametrize("name", GROUPS["sweep"])
def test_every_sweep_can_run_as_it_is(composer, name):
    plan = examine(composer, [f"sweep={name}"], multirun=True)
    assert plan.problems == []


def test_a_sweep_may_choose_its_sweeper_and_the_command_line_its_launcher(composer):
    plan = examine(composer, ["sweep=learning_rate", "hydra/launcher=slurm"])
    assert plan.mode == RunMode.MULTIRUN
    assert plan.cfg.hydra.sweeper._target_.endswith("OptunaSweeper")
    assert plan.cfg.hydra.launcher._target_.endswith("SlurmLauncher")
