import json
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from evqa.errors import CheckpointError
from evqa.models.hub import Checkpoint, find_checkpoint, read_config, read_tokenizer
from evqa.models.key_adapter import KeyAdapter
from evqa.models.weights import load_weights

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose answers a test chooses: for the cache and for the network."""
    answers = {}
    calls = []

    def download(name, *, revision, allow_patterns, local_files_only):
        place = "cache" if local_files_only else "network"
        calls.append((place, name, revision, "*.safetensors" in allow_patterns))
        if isinstance(answers[place], Exception):
            raise answers[place]
        return str(answers[place])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)
    folder = tmp_path / COMMIT
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return answers, calls, folder


def error(kind):
    made = kind.__new__(kind)
    Exception.__init__(made, "first line\nsecond line")
    return made


def test_a_folder_is_used_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    found = find_checkpoint(str(tmp_path), revision="of another place")
    assert found == Checkpoint(name=str(tmp_path), folder=tmp_path)
    assert found.label == str(tmp_path)


def test_a_complete_cache_needs_no_network(hub):
    answers, calls, folder = hub
    (folder / "model.safetensors").write_bytes(b"")
    answers["cache"] = folder
    found = find_checkpoint("owner/name", revision=COMMIT)
    assert found.label == f"owner/name@{COMMIT}"
    assert calls == [("cache", "owner/name", COMMIT, True)]


@pytest.mark.parametrize("place", ["cache", "network"])
def test_the_first_digits_of_a_commit_are_enough(hub, monkeypatch, tmp_path, place):
    answers, calls, folder = hub
    (folder / "model.safetensors").write_bytes(b"")
    answers |= {"cache": error(LocalEntryNotFoundError), "network": folder} | {place: folder}
    if place == "cache":
        (tmp_path / "models--owner--name/snapshots" / COMMIT).mkdir(parents=True)
    commits = [SimpleNamespace(commit_id=commit) for commit in ("f" * 40, COMMIT)]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_commits", lambda *_: commits)
    assert find_checkpoint("owner/name", revision=COMMIT[:7]).revision == COMMIT
    assert calls[-1] == (place, "owner/name", COMMIT, True)


def test_an_interrupted_download_is_continued(hub):
    answers, calls, folder = hub
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1.safetensors").write_bytes(b"")
    answers |= {"cache": folder, "network": folder}
    find_checkpoint("owner/name", revision=None)
    assert [place for place, *_ in calls] == ["cache", "network"]


def test_the_structure_alone_asks_for_no_weights(hub):
    answers, calls, folder = hub
    answers["cache"] = folder
    assert find_checkpoint("owner/name", revision=None, weights=False).folder == folder
    assert calls == [("cache", "owner/name", None, False)]


MISSING = "not in the local cache and not reachable. Download it where there is a network with "


@pytest.mark.parametrize(
    ("failure", "revision", "message"),
    [
        (LocalEntryNotFoundError, None, f"{MISSING}`hf download owner/name`, or name a local folder."),
        (LocalEntryNotFoundError, COMMIT, f"{MISSING}`hf download owner/name --revision {COMMIT}`, or name a"),
        (LocalEntryNotFoundError, COMMIT[:7], f"{MISSING}`hf download owner/name --local-dir FOLDER`, or name a"),
        (RevisionNotFoundError, COMMIT, f"model.revision={COMMIT}: owner/name has no such revision"),
        (HfHubHTTPError, COMMIT, "cannot be downloaded (first line)"),
    ],
)
def test_a_checkpoint_that_cannot_be_had_says_what_to_do(hub, monkeypatch, failure, revision, message):
    answers, _, _ = hub
    answers |= {"cache": error(LocalEntryNotFoundError), "network": error(failure)}
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_commits", lambda *_: [])
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint("owner/name", revision=revision)
    assert message in str(caught.value)


def test_without_a_network_nothing_is_tried_twice(hub, monkeypatch):
    answers, calls, _ = hub
    answers["cache"] = error(LocalEntryNotFoundError)

    def fail(*_, **__):
        raise RuntimeError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", fail)
    with pytest.raises(CheckpointError, match=r"cannot be downloaded \(RuntimeError: no route\)\. Download it where"):
        find_checkpoint("owner/name", revision=None)
    assert [place for place, *_ in calls] == ["cache"]


def test_a_kind_with_known_sizes_needs_nothing_at_hand_to_count(hub):
    answers, calls, _ = hub
    answers["cache"] = error(LocalEntryNotFoundError)
    found = find_checkpoint("owner/name", revision=COMMIT, weights=False, sizes_known=True)
    assert found.on_paper
    assert found.label == f"owner/name@{COMMIT}"
    assert [place for place, *_ in calls] == ["cache"], "the network is not asked"


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "missing", "a/b/c"])
def test_a_folder_that_is_missing_is_not_looked_up_in_the_hub(hub, name):
    with pytest.raises(CheckpointError, match="no such folder, and not a hub name"):
        find_checkpoint(name, revision=None)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        find_checkpoint(str(tmp_path), revision=None)
    checkpoint = Checkpoint(name="here", folder=tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(CheckpointError, match=r"model\.checkpoint=here: config\.json cannot be read"):
        read_config(checkpoint, model_type="qwen2_5_vl")
    with pytest.raises(CheckpointError, match=r"model\.checkpoint=here: no usable tokenizer"):
        read_tokenizer(checkpoint, vocab_size=1)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"weight_map": {"a": "../a.safetensors"}}', r"names files elsewhere: \['\.\./a\.safetensors'\]"),
        ("{}", r"index\.json cannot be read \('weight_map'\)"),
    ],
)
def test_an_index_cannot_lead_out_of_its_folder(tmp_path, index, message):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(name="here", folder=tmp_path).files()


def test_a_damaged_shard_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"model\.checkpoint=here: model\.safetensors cannot be read"):
        load_weights(
            torch.nn.Linear(1, 1), Checkpoint(name="here", folder=tmp_path), KeyAdapter(), complete=("weight", "bias")
        )
