"""Build a model of transformers without memory, and fill it from a checkpoint's files, safetensors only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from evqa.errors import CheckpointError, MissingDependencyError
from evqa.models.hub import Checkpoint, quiet
from evqa.models.safety import check_floating, one_line

TOWERS = ("visual.", "audio_tower.", "language_model.")
UNBUILT = ("lm_head.", "talker.", "token2wav.")  # of a checkpoint, where they are not asked for


def build_empty(kind: type, config: Any, *, dtype: str, attention: str) -> Any:
    """Build a transformers model whose weights hold no memory yet; buffers are real.

    Raises:
        CheckpointError: the configuration describes nothing that can be built.
    """
    from accelerate import init_empty_weights

    try:
        with quiet(), init_empty_weights(include_buffers=False):
            return cast("Any", kind)._from_config(config, dtype=getattr(torch, dtype), attn_implementation=attention)
    except ImportError as error:
        raise MissingDependencyError(
            f"model.attention={attention} needs a package that is not installed ({str(error).splitlines()[0]}). "
            "Install it, or use model.attention=sdpa."
        ) from error
    except Exception as error:  # of any kind: the sizes come from the checkpoint's config.json
        raise CheckpointError(f"model.checkpoint: config.json describes no model ({one_line(error)})") from error


def load_weights(model: Any, checkpoint: Checkpoint, *, prefix: str = "") -> None:
    """Fill the empty weights of `model` from the checkpoint, under its published or newer key names.

    Only what the model has is read, so a tower or an LM head that was not built costs nothing. `prefix` stands before
    every name of the model but `lm_head` ("model." where the LM head was built).

    Raises:
        CheckpointError: weights are missing, unknown, damaged, or have another shape; lists them.
    """
    wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.is_meta}
    known = {name.removeprefix(prefix) for name in model.state_dict()}
    found: dict[str, Tensor] = {}
    problems: list[str] = []
    for shard in checkpoint.shards():
        with checkpoint.opened(shard) as tensors:
            for key in tensors.keys():  # noqa: SIM118 (a safetensors file is no dictionary)
                inner = canonical(key)
                name = inner if inner.startswith("lm_head.") else prefix + inner
                if name in found:
                    problems.append(f"{key}: stored twice")
                elif name not in wanted:
                    problems += [f"{key}: unknown"] if _is_unknown(inner, known) else []
                elif (shape := tensors.get_slice(key).get_shape()) != list(wanted[name].shape):
                    problems.append(f"{name}: {shape} stored, {list(wanted[name].shape)} expected")
                else:
                    tensor = tensors.get_tensor(key)
                    check_floating(shard, key, tensor)
                    found[name] = tensor.to(wanted[name].dtype)
    model.load_state_dict(found, strict=False, assign=True)
    model.tie_weights()
    still_empty = (name for name, parameter in model.named_parameters() if parameter.is_meta)
    problems += [f"{name}: missing" for name in still_empty if not any(p.startswith(f"{name}:") for p in problems)]
    if problems:
        raise CheckpointError(
            f"model.checkpoint={checkpoint.name}: {len(problems)} weights do not fit:\n  "
            + "\n  ".join(_short(problems))
        )


def _is_unknown(name: str, known: Collection[str]) -> bool:
    """Tell whether a stored weight has no place in the model, nor in a part that is not built."""
    if name in known or name.startswith(UNBUILT) or name.endswith("inv_freq"):  # a constant in older files
        return False
    tower = next((tower for tower in TOWERS if name.startswith(tower)), None)
    return tower is None or any(other.startswith(tower) for other in known)


def canonical(key: str) -> str:
    """Map a stored key to the name below the model without its LM head: `visual...`, `language_model...`.

    Older checkpoints keep the language model as `model.layers...` and the towers at the top; Omni's thinker has one
    more prefix.
    """
    key = key.removeprefix("thinker.")
    inner = key.removeprefix("model.")
    return inner if inner.startswith(TOWERS) or inner == key else f"language_model.{inner}"


def _short(problems: Sequence[str], limit: int = 20) -> list[str]:
    rest = len(problems) - limit
    return [*problems[:limit], *([f"... and {rest} more"] if rest > 0 else [])]
