"""Configuration files are read with libyaml: as OmegaConf reads them, and anew each time."""

import pytest
import yaml
from omegaconf import OmegaConf

from evqa.config import yaml_files
from evqa.config.compose import compose
from evqa.config.composer import open_configuration
from evqa.config.paths import conf_folder
from evqa.config.yaml_files import read_config

ODD = """
small: 1e-3
short: [1., .5, -2.5E+3, .inf, 1_000, 0x1f, 0b11, 017, 1:30]
words: [yes, off, ~, null, NO, 2024-01-31, 1e, "1e3", '', é]
text: |
  two
  lines
missing: ???
kept: {place: "${oc.env:HOME}", none: }
base: &base {a: 1}
merged: {<<: *base, b: 2}
1: a number as a name
"""
WRONG = {
    "a: 1\nb: 2\na: 3\n": "found duplicate key a",
    "a: [1, 2\nb: 3\n": "expected ',' or ']', but got ':'",
    "a: b: c\n": "mapping values are not allowed here",
    "a: !!python/object/apply:os.system [true]\n": "could not determine a constructor for the tag",
}


@pytest.fixture(params=["libyaml", "PyYAML alone"])
def parser(request, monkeypatch):
    if request.param == "libyaml":
        if not yaml.__with_libyaml__:
            pytest.skip("PyYAML was built without libyaml")
    else:
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
        monkeypatch.delattr(yaml_files, "_loader")
    return request.param


def test_every_file_is_read_as_omegaconf_reads_it(parser):
    files = sorted(conf_folder().rglob("*.yaml"))
    assert len(files) > 100
    for file in files:
        assert repr(read_config(file)) == repr(OmegaConf.load(file)), file


@pytest.mark.parametrize("text", [ODD, "", "# nothing\n", "- a\n- {b: 1}\n", "plain"])
def test_odd_values_are_read_as_omegaconf_reads_them(parser, tmp_path, text):
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    assert repr(read_config(file)) == repr(OmegaConf.load(file))


@pytest.mark.parametrize(("text", "words"), WRONG.items())
def test_what_is_wrong_is_said_with_its_line(parser, tmp_path, text, words):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(yaml.YAMLError) as theirs:
        OmegaConf.load(file)
    with pytest.raises(yaml.YAMLError, match=words.replace("[", r"\[").replace("]", r"\]")) as ours:
        read_config(file)
    assert str(ours.value) == str(theirs.value)
    assert f'"{file}", line ' in str(ours.value)


def test_hydra_reads_each_file_of_a_configuration_so_and_once(monkeypatch):
    seen = []
    monkeypatch.setattr(yaml_files, "read_config", lambda file: seen.append(file) or read_config(file))
    compose(["modal=v"])
    assert {"train.yaml", "tiny.yaml", "v.yaml"} <= {file.name for file in seen}
    assert len(set(seen)) == len(seen)


def test_a_file_that_was_edited_is_read_anew(tmp_path):
    option = tmp_path / "modal" / "mine.yaml"
    option.parent.mkdir()
    for value in ("one", "two"):
        option.write_text(f"# @package run\nname: {value}\n")
        composer = open_configuration("train", folders=[tmp_path])
        assert composer.compose(["modal=mine"]).run.name == value
