"""Find published checkpoints, a local folder or a hub name with a pinned revision, and read their settings."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evqa.errors import CheckpointError
from evqa.files.regular import check_readable
from evqa.models.published import CONFIGURATIONS, published_config, stand_in_tokenizer
from evqa.models.safety import (
    ADAPTER_FILE,
    about,
    check_config,
    code_asked_for,
    file_of,
    mention_code,
    one_line,
    read_foreign,
    without_code,
)
from evqa.models.weight_files import MERGED, WeightFile, is_run, main_files

SHORT_COMMIT = re.compile("[0-9a-f]{7,39}")
TEXTS = ["*.json", "*.txt", "*.jinja"]
WEIGHTS = "*.safetensors"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"),
    *("special_tokens_map.json", "chat_template.jinja"),
)
SETTINGS_FILES = (  # JSON that says what to load
    *("tokenizer_config.json", "generation_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "processor_config.json", "chat_template.json"),
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

    @contextmanager
    def about(self) -> Iterator[None]:
        """Turn what is wrong with one of its files into a CheckpointError that names the checkpoint as it was given."""
        with about(self.name):
            yield

    def files(self) -> list[WeightFile]:
        """List the weight files. Raises CheckpointError where there are none."""
        with self.about():
            return main_files(self.folder)

    def num_tensors(self) -> int | None:
        """Count the stored tensors; None where the weights are not at hand."""
        if self.on_paper or not self.has(weights=True):
            return None
        with self.about():
            return sum(len(file.tensors) for file in self.files())

    def has(self, *, weights: bool) -> bool:
        """Tell whether the configuration and, where asked for, every weight file is there."""
        try:
            files = self.files() if weights else []
        except CheckpointError:
            return False
        return all(path.is_file() for path in [self.folder / "config.json", *(file.path for file in files)])


def find_checkpoint(
    name: str, *, revision: str | None, weights: bool = True, sizes_known: bool = False, also: Sequence[str] = ()
) -> Checkpoint:
    """Find a checkpoint folder; a hub name is looked up in the local cache first and downloaded where it is missing.

    A run's folder stands for its best weights, which a training that starts from them has merged.

    `revision` pins a hub name (a commit's first seven digits are enough) and has no meaning for a folder. Without
    `weights` only the small files are needed, and for a published checkpoint that is not in the cache (or any, where
    `sizes_known`) not even those. also: patterns of weight files to be fetched beside *.safetensors.

    Raises:
        CheckpointError: there is no such folder or hub repository, or it cannot be reached.
    """
    folder = Path(name).expanduser()
    if is_run(folder):
        if not (folder / MERGED).is_dir():
            merge = f"python -m evqa.merge {name} --out {name}/{MERGED}"
            raise CheckpointError(f"model.checkpoint={name}: the weights of this run are not merged: {merge}")
        return Checkpoint(name=name, folder=folder / MERGED)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            is_adapter = (folder / ADAPTER_FILE).exists()
            advice = "it holds an adapter: merge it into its base first" if is_adapter else "name a checkpoint folder"
            raise CheckpointError(f"model.checkpoint={name}: the folder has no config.json; {advice}.")
        return Checkpoint(name=name, folder=folder)
    if folder.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") != 1:
        raise CheckpointError(f"model.checkpoint={name}: no such folder, and not a hub name (owner/name) either.")
    on_paper = not weights and (sizes_known or name in CONFIGURATIONS)
    return _from_hub(name, revision, patterns=[*TEXTS, *([WEIGHTS, *also] if weights else [])], on_paper=on_paper)


def _from_hub(name: str, revision: str | None, *, patterns: list[str], on_paper: bool) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

    def fetch(whole: str | None, *, cached: bool) -> Checkpoint:
        folder = snapshot_download(name, revision=whole, allow_patterns=patterns, local_files_only=cached)
        return Checkpoint(name=name, folder=Path(folder), revision=Path(folder).name)

    try:
        checkpoint = fetch(_completed(revision, _cached_commits(name)), cached=True)
        if checkpoint.has(weights=WEIGHTS in patterns):
            return checkpoint
    except LocalEntryNotFoundError:
        pass
    if on_paper:
        return Checkpoint(name=name, folder=Path(name), revision=revision, on_paper=True)
    is_short = revision is not None and SHORT_COMMIT.fullmatch(revision)  # which `hf download` does not know
    way = " --local-dir FOLDER" if is_short else f" --revision {revision}" if revision else ""
    advice = f"Download it where there is a network with `hf download {name}{way}`, or name a local folder."
    try:
        return fetch(_reach(name, revision), cached=False)
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


def _reach(name: str, revision: str | None) -> str | None:
    """Ask for the repository once; without a network the download itself would try again for a minute.

    Returns the revision, as a whole commit where only its first digits are given.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    is_short = revision is not None and SHORT_COMMIT.fullmatch(revision) is not None
    try:
        HfApi().repo_info(name, revision=None if is_short else revision, timeout=20)
        commits = [commit.commit_id for commit in HfApi().list_repo_commits(name)] if is_short else []
    except (HfHubHTTPError, OSError):
        raise
    except Exception as error:  # of the HTTP package, which depends on the hub's version
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    return _completed(revision, commits)


def _cached_commits(name: str) -> list[str]:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "snapshots"
    return [path.name for path in place.glob("*")]


def _completed(revision: str | None, commits: Iterable[str]) -> str | None:
    """Complete the first digits of a commit, which the hub does not do."""
    if revision is None or not SHORT_COMMIT.fullmatch(revision):
        return revision
    return next((commit for commit in commits if commit.startswith(revision)), revision)


def read_config(checkpoint: Checkpoint, *, model_type: str, inside: str | None = None) -> Any:
    """Read config.json as transformers' configuration of a model; `inside` as in `read_settings`.

    Raises:
        CheckpointError: as `read_settings`, or transformers makes nothing of it.
    """
    from transformers import CONFIG_MAPPING

    if checkpoint.on_paper:
        config = published_config(checkpoint.name)
        _check_type(checkpoint, config.model_type, model_type)
        return config
    settings = read_settings(checkpoint, model_type=model_type, inside=inside)
    try:
        with quiet():
            config = CONFIG_MAPPING[model_type].from_dict(settings)
            _check_rotary(config.get_text_config())
    except Exception as error:  # of any kind: the file says what it likes
        raise _unusable(checkpoint, "config.json cannot be read", error) from error
    return config


def read_settings(checkpoint: Checkpoint, *, model_type: str, inside: str | None = None) -> dict[str, Any]:
    """Read config.json as it is, without what asks for code, and check its sizes.

    inside: the part to use where the checkpoint holds a larger model (Omni's thinker).

    Raises:
        CheckpointError: the file is damaged, belongs to another kind of model, or has sizes that cannot be.
    """
    path = checkpoint.folder / "config.json"
    settings = plain_settings(checkpoint, inside=inside)
    _check_type(checkpoint, settings.get("model_type"), model_type)
    with checkpoint.about():
        check_config(path, settings, num_tensors=checkpoint.num_tensors())
        mention_code(checkpoint.folder, name=checkpoint.name, kind=model_type)
    return settings


def plain_settings(checkpoint: Checkpoint, *, inside: str | None = None) -> dict[str, Any]:
    """Read config.json unchecked, as an export takes it over; `inside` as in `read_settings`."""
    with checkpoint.about():
        settings = without_code(read_foreign(file_of(checkpoint.folder, "config.json")))
    part = settings.get(inside) if inside is not None else None
    return part if isinstance(part, dict) else settings


def _check_type(checkpoint: Checkpoint, found: object, wanted: str) -> None:
    if found == wanted:
        return
    with checkpoint.about():
        asked = [] if checkpoint.on_paper else code_asked_for(checkpoint.folder)
    code = f" It asks for code of its own ({', '.join(asked)}), which is never run." if asked else ""
    raise CheckpointError(
        f"model.checkpoint={checkpoint.name} holds a model of type {found!r}, not {wanted!r}.{code} "
        "Choose the model that fits the checkpoint (model=...), or another checkpoint."
    )


def _check_rotary(text: Any) -> None:
    """Check that the parts of a head that turn with time, height and width fill it; ValueError where they do not."""
    section = (text.rope_parameters or {}).get("mrope_section")
    half = (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads) // 2
    if not section or len(section) != 3 or sum(section) != half:
        raise ValueError(f"mrope_section={section}: must be three numbers that sum to {half}, half a head's size")


def read_tokenizer(checkpoint: Checkpoint, *, vocab_size: int) -> Any:
    """Read the checkpoint's tokenizer.

    Raises:
        CheckpointError: there is none, it is damaged or wants code of its own, or it is larger than the vocabulary.
    """
    from transformers import AutoTokenizer

    if checkpoint.on_paper:
        return stand_in_tokenizer(checkpoint.name)
    with checkpoint.about():
        for name in TOKENIZER_FILES:
            if (checkpoint.folder / name).exists():
                check_readable(file_of(checkpoint.folder, name))
    try:
        with quiet():
            found = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
        size = max(found.get_vocab().values()) + 1
        found.backend_tokenizer.to_str()  # slow tokenizers have none
    except Exception as error:  # the tokenizers library raises nothing more precise
        raise _unusable(checkpoint, "no usable tokenizer", error) from error
    if size > vocab_size:
        raise CheckpointError(
            f"model.checkpoint={checkpoint.name}: the tokenizer has {size} tokens, config.json a vocabulary of "
            f"{vocab_size}. Restore the folder's own tokenizer."
        )
    return found


def _unusable(checkpoint: Checkpoint, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"model.checkpoint={checkpoint.name}: {what} ({one_line(error)})")


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
