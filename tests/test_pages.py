"""Commands of pages that cannot be run here, dry: they parse, and what they set passes the checks that need no data."""

import importlib
import re

import pytest

from evqa.config.compose import compose
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.runs.chosen_data import choose_data, read_names, sort_overrides
from evqa.scoring.load import scorer_names
from tests.documented import ROOT, commands

PAGES = ("docs/migration.md", "docs/cluster.md")
# The recipes whose keys the migration's tables name; each key must fit one of them.
RECIPES = (
    ["experiment=paper_videollama2", "data=snapugc", "data.csv=a.csv", "data.videos=a"],
    ["experiment=videollama2_av_lora", "data=snapugc", "data.csv=a.csv", "data.videos=a"],
    ["experiment=vqa2_ugc_stage2"],
    ["model=vqa2_qwen2_5", "model.checkpoint=a", "modal=v", "frames=fps1_spread"],
    ["data=llava", "data.path=a.json", "data.root=a", "head=conversation", "callbacks=loss", "modal=v", "model=vqa2"],
)


@pytest.fixture(scope="module")
def composer():
    return open_configuration("train")


@pytest.mark.parametrize("arguments", [command for page in PAGES for command in commands(page)], ids=" ".join)
def test_every_command_passes_the_checks_that_need_no_data(composer, arguments):
    name, *rest = arguments
    if name in ("train", "prepare"):
        settings = [word for word in rest if word not in ("-m", "--cfg", "job")]
        assert examine(composer, settings, multirun="-m" in rest).problems == []
        return
    module = importlib.import_module(f"evqa.{name}")
    flags = module.parser().parse_args(rest)
    if name == "eval":
        module._check(flags)
    if not hasattr(flags, "scorer"):
        return
    names = read_names(flags.data) if getattr(flags, "data", None) else []
    overrides = sort_overrides(flags.override, names)
    assert [data.name for data in choose_data(names, overrides)] == names
    assert flags.scorer in scorer_names() or flags.scorer.startswith("runs/")
    if flags.scorer in scorer_names():
        compose(["model.checkpoint=FOLDER", f"scorer={flags.scorer}", *overrides.scorer])


def settings():
    """Every KEY=VALUE in the tables' right column."""
    for row in re.findall(r"^\|.*\|(.*)\|$", (ROOT / PAGES[0]).read_text(), re.MULTILINE):
        for code in re.findall(r"`([^`]+)`", row):
            yield from re.findall(r"""('[a-z_.0-9]+=[^']+'|(?<![\w.-])[a-z][a-z_.0-9]*=[^\s,']+)""", code)


@pytest.mark.parametrize("setting", sorted({line.strip("'") for line in settings()}))
def test_every_key_of_the_tables_exists_and_takes_the_value(composer, setting):
    assert any(not examine(composer, [*recipe, setting]).problems for recipe in RECIPES)


def test_weights_are_downloaded_at_the_commits_that_are_pinned():
    lines = re.findall(
        r"^hf download (\S+) --revision (\S+) +# (model=\w+)", (ROOT / PAGES[1]).read_text(), re.MULTILINE
    )
    assert len(lines) >= 3
    for name, commit, choice in lines:
        model = compose([choice, "modal=v"]).model
        assert (model.checkpoint, model.revision) == (name, commit)
