"""What a Qwen model's exported folder says beside its weights, as transformers 4.57 and 5 both read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evqa.media.sampling import FrameSampling
from evqa.models.exporting import write_json
from evqa.models.safety import read_foreign

VIDEO_FILE = "video_preprocessor_config.json"


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
