"""Values of environment variables in configurations: used, never written."""

import pytest
from omegaconf import OmegaConf

from evqa.config import environment
from evqa.config.compose import compose
from evqa.config.identity import fingerprint, run_name, settle
from evqa.errors import ConfigError

SECRET = "hush hush"


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    environment.register_resolvers()
    monkeypatch.setenv("EVQA_SECRET", SECRET)
    monkeypatch.setenv("EVQA_NUMBER", "7")


@pytest.mark.parametrize(
    ("text", "kept", "value"),
    [
        ("${oc.env:EVQA_SECRET}", "${oc.env:EVQA_SECRET}", SECRET),
        ("/srv/${oc.env:EVQA_SECRET}/x.csv", "/srv/${oc.env:EVQA_SECRET}/x.csv", f"/srv/{SECRET}/x.csv"),
        ("${oc.env:EVQA_SECRET,none}", "${oc.env:EVQA_SECRET,none}", SECRET),
        ('${oc.env:EVQA_NONE,"a, b"}', '${oc.env:EVQA_NONE,"a, b"}', "a, b"),
        ("${oc.env:EVQA_NONE,null}", "${oc.env:EVQA_NONE,null}", None),
        ("${oc.decode:${oc.env:EVQA_NUMBER}}", "${oc.decode:${oc.env:EVQA_NUMBER}}", 7),
        ("${other}", "${oc.env:EVQA_SECRET}-1", f"{SECRET}-1"),
        ("${other}/${plain}", "${oc.env:EVQA_SECRET}-1/8", f"{SECRET}-1/8"),
        ("${plain}", 8, 8),
        ("${oc.decode:'[1, 2]'}", [1, 2], [1, 2]),
        (r"\${oc.env:EVQA_SECRET}", r"\${oc.env:EVQA_SECRET}", "${oc.env:EVQA_SECRET}"),
        ("{title}", "{title}", "{title}"),
    ],
)
def test_a_settled_configuration_keeps_the_call_and_gives_the_value(text, kept, value):
    cfg = OmegaConf.create({"node": {"key": text}, "other": "${oc.env:EVQA_SECRET}-1", "plain": 8})
    settled = OmegaConf.create(environment.settled(cfg))
    assert OmegaConf.to_container(settled)["node"]["key"] == kept
    assert settled.node.key == value
    assert SECRET not in OmegaConf.to_yaml(settled)
    alone = OmegaConf.masked_copy(settled.node, ["key"])
    assert alone.key == value


def test_keys_are_named_and_texts_that_only_look_like_calls_are_not():
    cfg = OmegaConf.create({"a": {"b": ["${oc.env:EVQA_SECRET}", 1]}, "c": r"\${oc.env:X}", "d": "${oc.env:EVQA_NONE}"})
    assert list(environment.environment_keys(cfg)) == ["a.b.0", "d"]


def test_sentences_show_the_call_in_the_place_of_the_value():
    assert OmegaConf.create({"a": "${oc.env:EVQA_SECRET}"}).a == SECRET
    assert environment.hidden(f"/srv/{SECRET}/a.csv: no such file") == "/srv/${oc.env:EVQA_SECRET}/a.csv: no such file"


@pytest.mark.parametrize("key", ["data.batch_size", "modal.name", "trainer.precision", "optimizer.learning_rate"])
def test_a_value_that_does_not_fit_is_not_shown(key):
    with pytest.raises(ConfigError) as caught:
        compose([f"{key}=${{oc.env:EVQA_SECRET}}"])
    assert SECRET not in str(caught.value)
    assert f"{key}: expected" in str(caught.value)
    assert "what ${oc.env:EVQA_SECRET} gives is something else." in str(caught.value)


def test_another_value_is_another_run_whose_name_does_not_tell_it(monkeypatch):
    cfg = OmegaConf.create({"seed": "${oc.decode:${oc.env:EVQA_NUMBER}}", "run": {"name": None, "experiment": None}})
    first = settle(cfg, {})
    name, digest = run_name(first), fingerprint(first)
    assert name == digest[:8]
    monkeypatch.setenv("EVQA_NUMBER", "8")
    assert fingerprint(settle(cfg, {})) != digest
    assert first.seed == 8
