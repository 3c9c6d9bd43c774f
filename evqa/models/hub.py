"""Find and load published checkpoints: a local folder or a hub name with a pinned revision, safetensors only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from evqa.errors import CheckpointError, MissingDependencyError
from evqa.models.published import CONFIGURATIONS, published_config, stand_in_tokenizer

TEXTS = ["*.json", "*.txt", "*.jinja"]
WEIGHTS = "*.safetensors"
HEAD_FILE = "head.safetensors"  # of a merged run, beside the model's own weights
TOWERS = ("visual.", "audio_tower.", "language_model.")
# Texts and settings that an exported folder takes over from its base.
SIDE_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint folder on this machine, and where it came from (revision: None for a local folder).

    on_paper: nothing is at hand, but the sizes are known (`evqa.models.published`); enough for a dry run.
    """

    name: str
    folder: Path
    revision: str | None = None
    on_paper: bool = False

    @property
    def label(self) -> str:
        """Name and revision for a run's records."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    def shards(self) -> list[Path]:
        """List the weight files. Raises CheckpointError where there is none in safetensors format."""
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            return [self.folder / name for name in self._indexed(index)]
        shards = sorted(file for file in self.folder.glob("*.safetensors") if file.name != HEAD_FILE)
        if not shards:
            raise CheckpointError(
                f"model.checkpoint={self.name}: {self.folder} holds no *.safetensors file (pickled weights are never "
                "read). Convert the checkpoint, or name another one."
            )
        return shards

    def _indexed(self, index: Path) -> list[str]:
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"model.checkpoint={self.name}: {index.name} cannot be read ({error})") from error
        if outside := [name for name in names if Path(name).name != name]:
            raise CheckpointError(f"model.checkpoint={self.name}: {index.name} names files elsewhere: {outside}")
        return names

    def has(self, *, weights: bool) -> bool:
        """Tell whether the configuration and, where asked for, every weight file is there."""
        try:
            shards = self.shards() if weights else []
        except CheckpointError:
            return False
        return all(file.is_file() for file in [self.folder / "config.json", *shards])


def find_checkpoint(name: str, *, revision: str | None, weights: bool = True) -> Checkpoint:
    """Find a checkpoint folder; a hub name is looked up in the local cache first and downloaded where it is missing.

    `revision` pins a hub name and has no meaning for a folder. Without `weights` only the small files are needed, and
    for a published checkpoint that is not in the cache not even those.

    Raises:
        CheckpointError: there is no such folder or hub repository, or it cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"model.checkpoint={name}: the folder has no config.json; name a checkpoint folder.")
        return Checkpoint(name=name, folder=folder)
    if folder.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") != 1:
        raise CheckpointError(f"model.checkpoint={name}: no such folder, and not a hub name (owner/name) either.")
    return _from_hub(name, revision, weights=weights)


def _from_hub(name: str, revision: str | None, *, weights: bool) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

    def fetch(*, cached: bool) -> Checkpoint:
        patterns = [*TEXTS, WEIGHTS] if weights else TEXTS
        folder = snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=cached)
        return Checkpoint(name=name, folder=Path(folder), revision=Path(folder).name)

    try:
        checkpoint = fetch(cached=True)
        if checkpoint.has(weights=weights):
            return checkpoint
    except LocalEntryNotFoundError:
        pass
    if not weights and name in CONFIGURATIONS:
        return Checkpoint(name=name, folder=Path(name), revision=revision, on_paper=True)
    pinned = f" --revision {revision}" if revision else ""
    advice = f"Download it where there is a network with `hf download {name}{pinned}`, or name a local folder."
    try:
        _reach(name, revision)
        return fetch(cached=False)
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"model.revision={revision}: {name} has no such revision. Pin one of its commits (model.revision=...) or "
            "follow its newest one with model.revision=null."
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(f"model.checkpoint={name}: not in the local cache and not reachable. {advice}") from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"model.checkpoint={name}: cannot be downloaded ({reason}). {advice}") from error


def _reach(name: str, revision: str | None) -> None:
    """Ask for the repository once; without a network the download itself would try again for a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().repo_info(name, revision=revision, timeout=20)
    except (HfHubHTTPError, OSError):
        raise
    except Exception as error:  # of the HTTP package, which depends on the hub's version
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


def read_config(checkpoint: Checkpoint, *, model_type: str, inside: str | None = None) -> Any:
    """Read config.json; `inside` names the part to use where the checkpoint holds a larger model (Omni's thinker).

    Raises:
        CheckpointError: the configuration is damaged or belongs to another kind of model.
    """
    from transformers import AutoConfig

    try:
        with quiet():
            on_paper = checkpoint.on_paper
            config = published_config(checkpoint.name) if on_paper else AutoConfig.from_pretrained(checkpoint.folder)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise CheckpointError(f"model.checkpoint={checkpoint.name}: config.json cannot be read ({error})") from error
    if inside is not None and hasattr(config, inside):
        config = getattr(config, inside)
    if config.model_type != model_type:
        raise CheckpointError(
            f"model.checkpoint={checkpoint.name} holds a model of type {config.model_type!r}, not {model_type!r}. "
            "Choose the model that fits the checkpoint (model=...), or another checkpoint."
        )
    return config


def read_tokenizer(checkpoint: Checkpoint) -> Any:
    """Read the checkpoint's tokenizer. Raises CheckpointError where it has none."""
    from transformers import AutoTokenizer

    if checkpoint.on_paper:
        return stand_in_tokenizer(checkpoint.name)
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(checkpoint.folder)
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"model.checkpoint={checkpoint.name}: no usable tokenizer ({error})") from error


def build_empty(kind: type, config: Any, *, dtype: str, attention: str) -> Any:
    """Build a transformers model whose weights hold no memory yet; buffers are real."""
    from accelerate import init_empty_weights

    try:
        with quiet(), init_empty_weights(include_buffers=False):
            return cast("Any", kind)._from_config(config, dtype=getattr(torch, dtype), attn_implementation=attention)
    except ImportError as error:
        raise MissingDependencyError(
            f"model.attention={attention} needs a package that is not installed ({str(error).splitlines()[0]}). "
            "Install it, or use model.attention=sdpa."
        ) from error


def load_weights(model: Any, checkpoint: Checkpoint, *, prefix: str = "") -> None:
    """Fill the empty weights of `model` from the checkpoint, under its published or newer key names.

    Only what the model has is read, so a tower or an LM head that was not built costs nothing. `prefix` stands before
    every name of the model but `lm_head` ("model." where the LM head was built).

    Raises:
        CheckpointError: weights are missing, damaged, or have another shape; lists them.
    """
    wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.is_meta}
    found: dict[str, Tensor] = {}
    problems: list[str] = []
    for name, tensor in _stored(checkpoint, wanted, prefix):
        if tensor.shape == wanted[name].shape:
            found[name] = tensor.to(wanted[name].dtype)
        else:
            problems.append(f"{name}: {list(tensor.shape)} stored, {list(wanted[name].shape)} expected")
    model.load_state_dict(found, strict=False, assign=True)
    model.tie_weights()
    still_empty = (name for name, parameter in model.named_parameters() if parameter.is_meta)
    problems += [f"{name}: missing" for name in still_empty if not any(p.startswith(f"{name}:") for p in problems)]
    if problems:
        raise CheckpointError(
            f"model.checkpoint={checkpoint.name}: {len(problems)} weights do not fit:\n  "
            + "\n  ".join(_short(problems))
        )


def canonical(key: str) -> str:
    """Map a stored key to the name below the model without its LM head: `visual...`, `language_model...`.

    Older checkpoints keep the language model as `model.layers...` and the towers at the top; Omni's thinker has one
    more prefix.
    """
    key = key.removeprefix("thinker.")
    inner = key.removeprefix("model.")
    return inner if inner.startswith(TOWERS) or inner == key else f"language_model.{inner}"


def _stored(checkpoint: Checkpoint, wanted: dict[str, nn.Parameter], prefix: str) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    for shard in checkpoint.shards():
        try:
            with safe_open(shard, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 (a safetensors file is no dictionary)
                    name = canonical(key)
                    name = name if name.startswith("lm_head.") else prefix + name
                    if name in wanted:
                        yield name, tensors.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"model.checkpoint={checkpoint.name}: {shard.name} cannot be read ({error})"
            ) from error


def _short(problems: Sequence[str], limit: int = 20) -> list[str]:
    rest = len(problems) - limit
    return [*problems[:limit], *([f"... and {rest} more"] if rest > 0 else [])]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' remarks (load reports, token ids of unused defaults); real errors are raised anyway."""
    from transformers.utils import logging as hub_logging

    logger = logging.getLogger("transformers")
    level, bars = logger.level, hub_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    hub_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            hub_logging.enable_progress_bar()
