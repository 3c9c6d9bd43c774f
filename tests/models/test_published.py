"""Sizes of published checkpoints, against the numbers of parameters that these models are known to have."""

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.hub import find_checkpoint
from evqa.models.published import CONFIGURATIONS
from evqa.training.plan import build
from tests.models.toys import COMPOSER, options

# With every tower and, where it has weights of its own, the LM head.
NUM_PARAMETERS = {
    "qwen2_5_vl": 8_292_166_656,
    "qwen2_5_vl_3b": 3_754_622_976,
    "qwen3_vl": 4_437_815_808,
}


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch):
    def download(*_, local_files_only, **__):
        assert local_files_only, "a dry run asked the network"
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def hub_models():
    nodes = {option: COMPOSER.compose([f"model={option}"]).model for option in options("model")}
    return {option: node for option, node in nodes.items() if "Qwen/" in str(node.get("checkpoint"))}


@pytest.mark.parametrize("option", hub_models())
def test_every_configured_hub_checkpoint_is_known_on_paper(option):
    found = find_checkpoint(hub_models()[option].checkpoint, revision="pinned", weights=False)
    assert found.on_paper
    assert found.label == f"{found.name}@pinned"
    assert found.name in CONFIGURATIONS


@pytest.mark.parametrize("option", NUM_PARAMETERS)
def test_a_dry_run_counts_the_published_parameters_without_a_network(option):
    node = hub_models()[option]
    model = build(node, BuildOptions(frames=FrameSampling(), audio=None, logits=True, load=False))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == NUM_PARAMETERS[option]
