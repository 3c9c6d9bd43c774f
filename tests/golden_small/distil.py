"""Make the small copy of LMM-EVQA's reference numbers that travels with the repository.

    python tests/golden_small/distil.py ../shared/golden/lmm_evqa

Same layout and file names as the whole set, so that the same tests read either (EVQA_GOLDEN); only fewer arrays.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent / "lmm_evqa"
WHOLE = (
    "model/config.json",
    "model/state_dict.safetensors",
    "model/state_dict_keys.json",
    "model/inputs.safetensors",
    "model/summary.json",
    "model/end_to_end.json",
    "prompt/prompts.json",
    "preprocess/videos.json",
    "preprocess/videos/synth_five_frames.mp4",
    "preprocess/videos/synth_landscape_6s.mp4",
    "preprocess/videos/synth_silent_3s.mp4",
    "preprocess/audio_synth_five_frames.npz",
)
DETAILED_CASES = ("case_av_b1", "case_mixed_b3")
LARGEST_GRADIENT = 600  # values; the norms of all gradients are in summary.json
LEFT_OUT_PROBES = ("beats.longer",)


def keep_case(stem, name):
    return stem in DETAILED_CASES or not name.startswith(("out.spliced.inputs_embeds", "out.llm."))


def write(source, name, keep):
    tensors = load_file(source / f"model/{name}.safetensors")
    save_file({key: value for key, value in tensors.items() if keep(key, value)}, HERE / f"model/{name}.safetensors")


def main(source):
    for name in WHOLE:
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, HERE / name)
    shutil.copytree(source / "prompt/tokenizer_qwen2", HERE / "prompt/tokenizer_qwen2", dirs_exist_ok=True)
    for path in sorted((source / "model").glob("case_*.safetensors")):
        write(source, path.stem, lambda key, _, stem=path.stem: keep_case(stem, key))
    write(source, "encoders_v", lambda key, _: key in ("stc.sampler", "stc.readout"))
    write(source, "encoders_a", lambda key, _: key in ("beats.layer0", "beats.encoder_out", "audio_projector"))
    write(source, "grads_av_b3_mse", lambda _, value: value.numel() <= LARGEST_GRADIENT)
    write(source, "probes", lambda key, _: not key.startswith(LEFT_OUT_PROBES))
    for path in sorted((source / "preprocess").glob("pixels_synth_five_frames.npz")):
        with np.load(path) as arrays:
            key = "pixel_values_none_small_uniform_8"
            np.savez_compressed(HERE / "preprocess" / path.name, **{key: arrays[key]})
    total = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    print(json.dumps({"files": str(HERE), "bytes": total}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
