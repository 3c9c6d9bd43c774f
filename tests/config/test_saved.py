"""Configurations in run folders: damaged, tampered with, or random; nothing is built or run by reading them."""

import os
import random
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.config.reading import LARGEST
from evqa.config.saved import checked_saved
from evqa.errors import ConfigError, EvqaError, FileError, RunError

MOVABLE = ("data.", "trainer.precision", "model.checkpoint")


@pytest.fixture(scope="module")
def plain():
    """A run's settings as plain values."""
    return OmegaConf.to_container(compose(["run.name=received", "loss=mse_plcc", "data.val_fraction=0.1"]))


@pytest.fixture
def saved(plain, tmp_path):
    """Write a run's file with some keys changed; returns its path."""

    def write(changes):
        config = OmegaConf.create(plain)
        for key, value in changes.items():
            OmegaConf.update(config, key, value, force_add=True)
        path = tmp_path / "config.yaml"
        path.write_text(yaml.dump(OmegaConf.to_container(config)))
        return path

    return write


def test_a_run_s_own_file_is_good(saved):
    assert checked_saved(saved({})).data.num_train == 512


TOUCH = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": ["TOUCHED"]}}
HUB = {"_target_": "torch.hub.load", "repo_or_dir": "evil/evil", "model": "x", "source": "github"}
OURS = {"_target_": "evqa.training.losses.Mse"}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "loss",
            TOUCH,
            "loss._target_: pathlib.Path.touch is no class of evqa; only a Loss of evqa may be built here.",
        ),
        ("model", HUB, "model._target_: torch.hub.load is no class of evqa"),
        ("model", {"_target_": "torch.load", "f": "x.pt", "weights_only": False}, "model._target_: torch.load is no"),
        ("data", {"_target_": "numpy.load", "file": "x.npy", "allow_pickle": True}, "data._target_: numpy.load is no"),
        ("data.label", TOUCH, "data.label._target_: pathlib.Path.touch is no class of evqa; only a LabelScale"),
        ("data.cache", TOUCH, "data.cache._target_: pathlib.Path.touch is no class of evqa; only a CacheSettings"),
        ("data.limits", HUB, "data.limits._target_: torch.hub.load is no class of evqa; only a Limits"),
        ("data.batch_size", TOUCH, "data.batch_size._target_: nothing is built here; give plain values."),
        ("data.csv", TOUCH, "data.csv: Synthetic takes no argument 'csv'."),
        ("prompt", TOUCH, "prompt._target_: pathlib.Path.touch is no class of evqa; only a Prompt"),
        ("prompt.question", TOUCH, "prompt.question._target_: nothing is built here"),
        ("loss.terms.0", TOUCH, "loss.terms.0._target_: pathlib.Path.touch is no class of evqa; only a Loss"),
        ("loss.terms.1.min_spread", TOUCH, "loss.terms.1.min_spread._target_: nothing is built here"),
        ("optimizer.rates.head", TOUCH, "optimizer.rates.head._target_: nothing is built here"),
        ("optimizer.betas", [TOUCH, 0.9], "optimizer.betas.0._target_: nothing is built here"),
        ("head", OURS, "head._target_: evqa.training.losses.Mse is no Head; only a Head of evqa may be built here."),
        (
            "loss",
            {"_target_": "evqa.training.losses.Loss"},
            "loss._target_: evqa.training.losses.Loss is only the base of others",
        ),
        (
            "loss",
            {"_target_": "evqa.training.losses.functional.mse_loss"},
            "loss._target_: there is no module 'evqa.training.losses.fun",
        ),
        (
            "loss",
            {"_target_": "evqa.training.losses.Literal"},
            "loss._target_: evqa.training.losses.Literal is no class of evqa",
        ),
        ("loss", {"_target_": "evqa.cli.main"}, "loss._target_: evqa.cli.main is no class of evqa"),
        ("loss", {"_target_": "evqa./tmp/evil.Mse"}, "loss._target_: there is no module"),
        ("loss", {"_target_": "evqa.training.losses.Mse.__init__"}, "loss._target_: there is no module"),
        ("loss", {"_target_": "builtins.eval", "_args_": ["1"]}, "loss._target_: builtins.eval is no class of evqa"),
        ("loss", OURS | {"_args_": [TOUCH]}, "loss._args_: components are built whole"),
        ("loss", OURS | {"_partial_": True}, "loss._partial_: components are built whole"),
        ("head._recursive_", False, "head._recursive_: components are built whole"),
        ("data._convert_", "all", "data._convert_: components are built whole"),
        ("callbacks.x", HUB, "callbacks.x._target_: torch.hub.load is no class of evqa; only a Callback of evqa"),
        ("callbacks.x", OURS, "callbacks.x._target_: evqa.training.losses.Mse is no Callback"),
        (
            "callbacks.x",
            {"_target_": "evqa.training.callbacks.randomness.StatelessRandomness"},
            "callbacks.x._target_: evqa.tra",
        ),
        ("callbacks._target_", "os.getcwd", "callbacks._target_: nothing is built here"),
        ("run._target_", "os.getcwd", "run._target_: nothing is built here"),
        ("_target_", "os.getcwd", "_target_: nothing is built here"),
        ("hydra", {"callbacks": {"x": HUB}}, "hydra: a run's configuration has no such key"),
        ("extra", TOUCH, "extra: the configuration has no such key"),
        ("loss", "${oc.decode:'{_target_: os.getcwd}'}", "loss must be a single value where it comes from the environ"),
        (
            "data.limits",
            "${oc.decode:'[1]'}",
            "data.limits must be a single value where it comes from the environment.",
        ),
        ("optimizer._target_", None, "optimizer._target_: names no class, and something is built here."),
        ("data.label._target_", None, "data.label._target_: names no class, and something is built here."),
        ("data.cache", "${oc.decode:${oc.env:NO,'{a: 1}'}}", "data.cache must be a single value where it comes from"),
        ("run.name", r"\\${seed}", r"run.name holds '\\${seed}'; a run's file has plain values"),
        ("loss._target_", "${oc.env:HOME}", "loss._target_: ${oc.env:HOME} is no class of evqa"),
        ("seed", "${now:%Y}", "seed holds '${now:%Y}'; a run's file has plain values"),
        ("model.width", "${model.height}", "model.width holds '${model.height}'; a run's file has plain values"),
        ("frames.count", -1, "frames.count: expected int with 1 <= count <= 100000, got -1."),
        ("model.width", 10**30, "model.width: expected int with 4 <= width <= 16384"),
        ("modal.name", "x", "modal.name: expected one of 'a', 'v', 'av', got 'x'."),
    ],
)
def test_what_does_not_belong_there_is_refused_and_not_run(saved, tmp_path, monkeypatch, key, value, sentence):
    monkeypatch.chdir(tmp_path)
    path = saved({key: value})
    with pytest.raises((ConfigError, RunError)) as caught:
        checked_saved(path)
    assert f"{path}: {sentence}" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


DAMAGES = {
    "empty": (b"", "names and values are expected, it holds nothing"),
    "a list": (b"- 1\n- 2\n", "names and values are expected, it holds a list"),
    "a text": (b"hello", "names and values are expected, it holds a str"),
    "binary": (bytes(range(256)), "cannot be read as YAML"),
    "not UTF-8": ("seed: 0\nname: é".encode("latin-1"), "cannot be read as YAML ('utf-8' codec can't decode"),
    "a key twice": (b"seed: 0\nseed: 1\n", "found duplicate key seed"),
    "cut": (b"seed: 0\nrun: {root: runs, na", "cannot be read as YAML"),
    "an object": (b"seed: !!python/object/apply:os.getcwd []\n", "could not determine a constructor for the tag"),
    "a name": (b"seed: !!python/name:os.getcwd\n", "could not determine a constructor for the tag"),
    "a reference to itself": (b"a: &a [*a]\n", "references (*name) are not used"),
    "references that multiply": (
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
        "references (*name) are not used",
    ),
    "a merge": (b"a: &a {x: 1}\nb: {<<: *a}\n", "references (*name) are not used"),
    "deep": (b"a: " + b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
    "huge": (b"a: " + b"x" * LARGEST, "has more than 262,144 bytes"),
    "an endless number": (b"seed: " + b"9" * 5000, "cannot be read as YAML"),
    "numbers for names": (b"1: 2\n", "1 is no name of a setting"),
    "another file": (b"a: 1\nb: {c: d}\n", "model: it is not there, and every run has it."),
    "no value": (b"model: null\ndata: 3\n", "data: it is not there, and every run has it."),
    "a text that cannot be worked out": (b"seed: ${oc.env:\n", "seed"),
    "a variable that is not set": (b"seed: ${oc.env:EVQA_NOT_SET}\n", "Environment variable 'EVQA_NOT_SET' not found"),
    "a set": (b"seed: !!set {a, b}\n", ""),
    "a time": (b"seed: 2020-01-01T00:00:00Z\n", ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_with_its_name_and_what_is_wrong(tmp_path, damage):
    content, words = DAMAGES[damage]
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises((ConfigError, RunError)) as caught:
        checked_saved(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())
    assert words in str(caught.value)


@pytest.mark.parametrize(("make", "words"), [(Path.mkdir, "is a folder"), (os.mkfifo, "is a pipe (FIFO)")])
def test_what_is_no_file_is_not_opened(tmp_path, make, words):
    make(tmp_path / "config.yaml")
    with pytest.raises(FileError, match=f"config.yaml {words.replace('(', '.').replace(')', '.')}, not a file"):
        checked_saved(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("modal.name=v", "--override modal.name=v: only places may change, not what was trained: data., trainer."),
        ("data.batchsize=2", "the run has no key 'data.batchsize'. Did you mean 'data.batch_size'?"),
        ("data.batch_size=0", "--override data.batch_size: expected int with 1 <= batch_size, got 0."),
        ("data.batch_size=1,2", "--override data.batch_size=1,2: give one value for one key, as KEY=VALUE."),
        (
            "trainer.precision=16",
            "--override trainer.precision: expected one of '32', 'bf16', 'bf16-true', 'bf16-pure', got 16.",
        ),
        ("data", "--override data: 'data' is not of the form key=value."),
        ("data.cache={_target_: os.getcwd}", "--override data.cache._target_: os.getcwd is no class of evqa"),
        ("data.cache.folder.x=1", "the run has no key 'data.cache.folder.x'."),
        ("model.checkpoint=/x", "the run has no key 'model.checkpoint'."),
    ],
)
def test_an_override_is_checked_like_a_command_line(saved, override, sentence):
    with pytest.raises(ConfigError) as caught:
        checked_saved(saved({}), [override], movable=MOVABLE)
    assert sentence in str(caught.value)


def test_numbers_may_be_written_for_choices_and_places_without_quotes(saved):
    config = checked_saved(
        saved({"trainer.precision": 32}),
        ["trainer.precision=32", "data.folder=/srv/vidéos/a=b", "data.copies=near", "data.batch_size=1"],
        movable=MOVABLE,
    )
    assert (config.trainer.precision, config.data.folder) == ("32", "/srv/vidéos/a=b")


ODD = [
    None,
    "",
    "x",
    -1,
    0,
    1e400,
    float("nan"),
    [],
    {},
    [1],
    {"_target_": "os.getcwd"},
    True,
    "${oc.env:X}",
    "???",
    9**99,
]


def mutated(text, plain, generator):
    """The text of a configuration with one random fault: bytes changed or lost, or a value put where another was."""
    if generator.random() < 0.5:
        data = bytearray(text.encode())
        for _ in range(generator.randint(1, 8)):
            place = generator.randrange(len(data))
            data[place : place + generator.randint(0, 3)] = generator.randbytes(generator.randint(0, 3))
        return bytes(data)
    config = OmegaConf.create(plain)
    keys = list(leaves(plain))
    for _ in range(generator.randint(1, 3)):
        key = generator.choice(keys)
        node = OmegaConf.to_container(config)
        parent = node
        *above, last = key
        for part in above:
            parent = (
                parent[part] if isinstance(parent, dict | list) and (part in parent or isinstance(part, int)) else {}
            )
        value = generator.choice([*ODD, {generator.choice(["_target_", "x"]): generator.choice(ODD)}])
        if isinstance(parent, dict) or (isinstance(parent, list) and isinstance(last, int) and last < len(parent)):
            parent[last] = value
        config = OmegaConf.create(node)
    return yaml.dump(OmegaConf.to_container(config)).encode()


def leaves(value, path=()):
    """The path of every key."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from leaves(child, (*path, key))


def complaints(plain, tmp_path, seeds):
    """Read mutated files; returns what was said about each that was refused."""
    text, path, said = yaml.dump(plain), tmp_path / "config.yaml", []
    for seed in seeds:
        path.write_bytes(mutated(text, plain, random.Random(seed)))
        try:
            checked_saved(path)
        except EvqaError as error:
            said.append(str(error))
    return said


def test_random_faults_are_sentences_or_harmless(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    said = complaints(plain, tmp_path, range(40))
    assert len(said) > 20
    assert all(line.startswith(str(tmp_path)) for text in said for line in text.splitlines())
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
    assert not {name for name in set(sys.modules) - before if name.startswith(("evqa.", "torch"))}
