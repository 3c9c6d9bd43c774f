import pytest
from omegaconf import OmegaConf

from evqa.config.composer import open_configuration
from evqa.config.keys import every_key
from evqa.config.option import option_keys


@pytest.mark.parametrize(
    "choice",
    ["data=table", "data=vqa2_stage3", "model=vqa2", "callbacks=early_stopping", "prompt=vqa2_image", "modal=a"],
)
def test_keys_and_values_are_those_of_the_composed_configuration(choice):
    group, option = choice.split("=")
    told = {one.key: one.value for one in option_keys(group, option)}
    cfg = open_configuration("train").compose([choice])
    keys = {key for key in every_key(cfg) if key.startswith(f"{group}.")}
    assert set(told) == keys - {key.rpartition(".")[0] for key in keys}
    texts = {key: value for key, value in told.items() if value is not None and "${" not in value and value != "???"}
    words = {True: "true", False: "false", None: "null"}
    for key, text in texts.items():
        value = OmegaConf.select(cfg, key)
        assert text == (words[value] if isinstance(value, bool | None) else str(value)), key
