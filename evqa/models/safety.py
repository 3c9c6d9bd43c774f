"""Reading a model folder that came from somebody else: bounded, within the folder, and never running its code.

What a folder says about sizes is checked before anything is built by it: a wrong number ends in a sentence, not in
ten million layers.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from evqa.errors import CheckpointError, FileError
from evqa.files.regular import check_readable, why

MAX_JSON_BYTES = 64 * 2**20
MAX_DEPTH = 20
ADAPTER_FILE = "adapter_config.json"  # of a folder that holds adapters, not a model
CODE_KEYS = ("auto_map", "custom_generate", "custom_pipelines")  # name files of the folder that shall be run
ASKING_FILES = (
    *("config.json", "tokenizer_config.json", "generation_config.json"),
    *("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"),
)
LAYER_COUNTS = ("num_hidden_layers", "depth", "encoder_layers")
# The least and the most of every size that something is built by; at least ten times what any published model has.
SIZES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(LAYER_COUNTS, (1, 1_000)),
    **dict.fromkeys(("hidden_size", "out_hidden_size", "encoder_embed_dim", "embed_dim", "output_dim"), (1, 65_536)),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "encoder_ffn_embed_dim"), (1, 1_000_000)),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_heads"), (1, 1_024)),
    **dict.fromkeys(("encoder_attention_heads", "conv_pos_groups", "num_channels", "in_channels"), (1, 1_024)),
    **dict.fromkeys(("patch_size", "temporal_patch_size", "spatial_merge_size", "input_patch_size"), (1, 256)),
    **dict.fromkeys(("image_size", "window_size", "conv_pos", "num_mel_bins", "n_window"), (1, 8_192)),
    **dict.fromkeys(("num_buckets", "max_distance", "predictor_class", "num_position_embeddings"), (1, 1_000_000)),
    **{"vocab_size": (1, 10_000_000), "max_position_embeddings": (1, 100_000_000), "d_model": (1, 8_192)},
    **{"head_dim": (2, 4_096), "max_source_positions": (1, 10_000), "tokenizer_model_max_length": (1, 2**31)},
    **{"mm_vision_select_layer": (-1_000, 1_000), "num_frames": (1, 100_000)},
}
MEASURES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps"), (0.0, 1.0)),
    **dict.fromkeys(("attention_dropout", "encoder_layerdrop", "dropout"), (0.0, 1.0)),
    **dict.fromkeys(("tokens_per_second", "position_id_per_seconds", "seconds_per_chunk"), (0.0, 1_000.0)),
    **{"rope_theta": (1.0, 1e15), "layer_wise_gradient_decay_ratio": (0.0, 1.0)},
}
LISTS = ("mrope_section", "fullatt_block_indexes", "deepstack_visual_indexes")
OPTIONAL = ("head_dim", "tokenizer_model_max_length", "num_frames")  # null stands for a value that is computed
PARTS = ("text_config", "vision_config", "audio_config", "thinker_config", "beats_config", "rope_parameters",
         "rope_scaling")  # fmt: skip


@contextmanager
def about(checkpoint: str | None = None) -> Iterator[None]:
    """Turn what is wrong with a file into a CheckpointError that names the checkpoint as it was given, or the path."""
    try:
        yield
    except FileError as error:
        where = str(error.path) if checkpoint is None else f"model.checkpoint={checkpoint}: {error.path.name}"
        raise CheckpointError(f"{where} {error.reason}") from error


def read_foreign(path: Path) -> dict[str, Any]:
    """Read a JSON object from an ordinary file of a bounded size and depth.

    Raises:
        FileError: it is not there, no file, too large, no JSON, or something else than an object.
    """
    check_readable(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FileError(path, f"cannot be read as JSON (over {MAX_JSON_BYTES // 2**20} MiB)")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise FileError(path, f"cannot be read as JSON ({reason})") from error
    except OSError as error:
        raise FileError(path, why(error, "read")) from error
    if not isinstance(content, dict):
        raise FileError(path, f"must hold a JSON object, not {_kind(content)}")
    return content


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a folder's own file, by the name that something in the folder gives it.

    Links may lead to the hub cache's store beside a snapshot, but not elsewhere.

    Raises:
        FileError: the name is no file name, or the file lies elsewhere.
    """
    if not _is_plain(name):
        raise FileError(folder, f"names a file elsewhere, or none: {name!r}; all files must lie in the folder itself")
    path, home = folder / name, folder.resolve()
    homes = [home, *([home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [])]
    target = path.resolve()
    if not any(target.is_relative_to(place) for place in homes):
        raise FileError(path, f"is a link that leads out of the folder ({target}); put the file itself there")
    return path


def indexed_files(index: Path) -> list[Path]:
    """List the shards that an index names, sorted; they need not exist.

    Raises:
        FileError: the index is damaged, or names something else than files beside it.
    """
    places = read_foreign(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise FileError(index, "cannot be read ('weight_map'): it must map the names of tensors to names of files")
    if strange := [name for name in places.values() if not isinstance(name, str)]:
        raise FileError(index, f"cannot be read ('weight_map'): {_short(strange[0])} is no name of a file")
    names = sorted(set(places.values()))
    if outside := [name for name in names if not _is_plain(name)]:
        raise FileError(index, f"names files elsewhere: {outside[:5]}; shards must lie in the same folder")
    return [file_of(index.parent, name) for name in names]


def code_asked_for(folder: Path) -> list[str]:
    """List the settings of a folder that want its own code to be run ("config.json: auto_map")."""
    found = []
    for name in ASKING_FILES:
        path = folder / name
        if path.is_file():
            found += [f"{name}: {key}" for key in CODE_KEYS if read_foreign(file_of(folder, name)).get(key)]
    return found


def _is_plain(name: str) -> bool:
    return name not in ("", "..") and Path(name).name == name and "\0" not in name


def mention_code(folder: Path, *, name: str, kind: str) -> None:
    """Warn where a folder wants its own code to be run; evqa's own implementation of `kind` is used."""
    if asked := code_asked_for(folder):
        warnings.warn(
            f"model.checkpoint={name} asks for code of its own to be run ({', '.join(asked)}). Nothing of the folder "
            f"is run: evqa uses its own implementation of {kind}.",
            stacklevel=3,
        )


def without_code(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Copy settings without what names code, private attributes, or kernels to be fetched, at every depth."""
    dropped = (*CODE_KEYS, "attn_implementation", "experts_implementation", "kernel_config", "use_kernels")
    kept = {key: value for key, value in settings.items() if key not in dropped and not key.startswith("_")}
    return {key: without_code(value) if isinstance(value, dict) else value for key, value in kept.items()}


def check_config(path: Path, config: Mapping[str, Any], *, num_tensors: int | None = None) -> None:
    """Check the sizes in a configuration, at every depth.

    num_tensors: of the stored weights; every layer needs some.

    Raises:
        FileError: lists every value that no model can be built by.
    """
    problems = list(_problems(config, "", num_tensors))
    if config.get("quantization_config"):
        problems.append("quantization_config is set: the weights are quantised; name the checkpoint in full precision")
    if problems:
        rest = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise FileError(path, "describes a model that cannot be built: " + "; ".join(problems[:10]) + rest)


def check_floating(file: Path, key: str, tensor: Tensor) -> None:
    """Raise FileError for a weight that is stored as whole numbers or in 8 bits: without its scale it means nothing."""
    if not tensor.is_floating_point() or tensor.dtype.itemsize < 2:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise FileError(file, f"holds {key} as {kind}, not as floating-point weights of 16 bits or more")


def check_head(file: Path, state: Mapping[str, Tensor], *, width: int) -> None:
    """Raise FileError for a regression head that is not two layers on hidden states of this width."""
    hidden = len(state["fc1.bias"]) if "fc1.bias" in state and state["fc1.bias"].ndim == 1 else None
    shapes = {"fc1.weight": (hidden, width), "fc1.bias": (hidden,), "fc2.weight": (1, hidden), "fc2.bias": (1,)}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != shapes:
        raise FileError(file, f"is no regression head of this model: it holds {_short(found)}, not {_short(shapes)}")
    for name, tensor in state.items():
        check_floating(file, name, tensor)


def one_line(error: Exception, limit: int = 300) -> str:
    """Write a message of another library in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _problems(config: Mapping[str, Any], place: str, num_tensors: int | None, depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{place} is nested more than {MAX_DEPTH} deep"
        return
    for key, value in config.items():
        name = f"{place}{key}"
        if key in PARTS and value is not None and not isinstance(value, dict):
            yield f"{name}={_short(value)} must be an object"
        elif isinstance(value, dict):
            yield from _problems(value, f"{name}.", num_tensors, depth + 1)
        elif reason := _unfit(key, value):
            yield f"{name}={_short(value)} {reason}"
        elif key in LAYER_COUNTS and num_tensors is not None and value > num_tensors:
            yield f"{name}={value}, but the weights hold {num_tensors} tensors"


def _unfit(key: str, value: object) -> str | None:
    """Say why a value cannot stand under a key, or None."""
    if value is None and key in OPTIONAL:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "must be finite"
    if key in SIZES:
        low, high = SIZES[key]
        return _outside(value, low, high) or (None if isinstance(value, int) else "must be a whole number")
    if key in MEASURES:
        return _outside(value, *MEASURES[key])
    if key in LISTS and not (isinstance(value, list) and all(type(v) is int and 0 <= v <= 10_000 for v in value)):
        return "must be a list of whole numbers, none below 0"
    return None


def _outside(value: object, low: float, high: float) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "must be a number"
    return None if low <= value <= high else f"must be a number from {low:g} to {high:g}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _short(value: object, limit: int = 160) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _kind(content: object) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(content), "null")
