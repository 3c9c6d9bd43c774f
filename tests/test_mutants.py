"""`make mutants` names files and tests that exist: a module that moves takes its place in the settings with it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_module_and_test_of_the_mutants_settings_exists():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    named = [*settings["only_mutate"], *settings["pytest_add_cli_args_test_selection"], *settings["also_copy"]]
    named += [name.partition("::")[0] for name in settings["pytest_add_cli_args"] if name.startswith("tests/")]
    assert [name for name in named if not list(ROOT.glob(name))] == []
