"""A Qwen model as a folder that transformers 4.57 and 5 load: the base's own settings, and what training changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evqa.files.whole import write_whole
from evqa.media.sampling import FrameSampling
from evqa.models.hub import SIDE_FILES, TOKENIZER_FILES, Checkpoint, quiet, read_settings
from evqa.models.safety import about, file_of, read_foreign, without_code

VIDEO_FILE = "video_preprocessor_config.json"
SETTINGS_FILES = ("tokenizer_config.json", "generation_config.json", *SIDE_FILES)  # JSON that says what to load
# Written by transformers while it loads a folder: true of one machine, or only of one version.
LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path", "backend", "processor_class_path")


def write_folder(
    whole: Any, checkpoint: Checkpoint, folder: Path, *, inside: str | None, config: Mapping[str, Any],
    video: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write weights under their published names; settings, tokenizer and processor files come from the base.

    inside: see `read_settings`. config: what to set in config.json. video: what the video processor must do to give the
    frames that the weights were trained with; empty where they saw none.
    """
    with quiet():
        whole.save_pretrained(folder)
    settings = read_settings(checkpoint, inside=inside) | {"architectures": [type(whole).__name__], **config}
    write_json(folder / "config.json", with_dtype(both_rotary_forms(settings), str(whole.dtype)))
    for name in dict.fromkeys((*TOKENIZER_FILES, *SETTINGS_FILES)):
        if (checkpoint.folder / name).exists():
            copy_setting(checkpoint, name, folder)
    if video:
        write_video_settings(folder, video)


def copy_setting(checkpoint: Checkpoint, name: str, folder: Path) -> None:
    """Copy one of the base's small files; what asks for code or is true of one machine only is left out."""
    with about(checkpoint.name):
        source = file_of(checkpoint.folder, name)
        if name not in SETTINGS_FILES:
            shutil.copyfile(source, folder / name)
            return
        settings = {key: value for key, value in without_code(read_foreign(source)).items() if key not in LOCAL_KEYS}
    if settings.get("tokenizer_class") == "TokenizersBackend":  # its name in transformers 5 alone
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(folder / name, settings)


def with_dtype(settings: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """State the type of the weights under the older name, and under the newer one where the base has it."""
    name = dtype.removeprefix("torch.")
    return {**settings, "torch_dtype": name, **({"dtype": name} if "dtype" in settings else {})}


def both_rotary_forms(settings: Mapping[str, Any]) -> dict[str, Any]:
    """State the rotary settings as transformers 4 reads them too, where the base states them as 5 does alone."""
    text = settings["text_config"] if isinstance(settings.get("text_config"), dict) else settings
    rotary = text.get("rope_parameters")
    if not rotary or text.get("rope_scaling"):
        return dict(settings)
    older = {"rope_scaling": {key: value for key, value in rotary.items() if key != "rope_theta"}}
    older |= {"rope_theta": rotary["rope_theta"]} if "rope_theta" in rotary else {}
    return {**settings, **older} if text is settings else {**settings, "text_config": {**text, **older}}


def write_video_settings(folder: Path, video: Mapping[str, Any]) -> None:
    """Put the training's frame sizes into every file that a video processor may be read from."""
    base = read_foreign(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").exists() else {}
    own = read_foreign(folder / VIDEO_FILE) if (folder / VIDEO_FILE).exists() else {}
    kept = ("processor_class", "resample", "do_convert_rgb", "rescale_factor")
    write_json(folder / VIDEO_FILE, {key: base[key] for key in kept if key in base} | own | dict(video))
    if base:
        budget = {key: video[key] for key in ("size", "min_pixels", "max_pixels") if key in video}
        write_json(folder / "preprocessor_config.json", base | budget)
    if (folder / "processor_config.json").exists():
        whole = read_foreign(folder / "processor_config.json")
        if isinstance(whole.get("video_processor"), dict):
            whole["video_processor"] |= video
            write_json(folder / "processor_config.json", whole)


def seconds_between(sampling: FrameSampling) -> float | None:
    """Seconds from one frame to the next in a clip that is long enough; None where they depend on the clip."""
    return {"first_n_seconds": sampling.seconds / sampling.count, "fps": 1 / sampling.fps}.get(sampling.policy)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as others write theirs: two spaces, letters of every script."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
