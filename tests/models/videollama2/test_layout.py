"""The published 7B model on the meta device: names, shapes and counts of its 8.53 billion parameters."""

import itertools
import math

import pytest
import torch

from evqa.media.audio import AudioWindow
from evqa.media.sampling import FrameSampling
from evqa.models.base import BuildOptions
from evqa.models.videollama2 import build, layout
from evqa.models.videollama2.dims import PUBLISHED
from evqa.models.videollama2.model import Videollama2
from tests.models.videollama2 import reference

MILLIONS = {  # of the original classes at the published sizes
    "model.embed_tokens.": 544.997,
    "model.layers.": 6525.618,
    "model.norm.": 0.004,
    "model.vision_tower.": 428.226,
    "model.mm_projector.": 376.889,
    "model.audio_tower.": 90.717,
    "model.mm_projector_a.": 15.605,
    "lm_head.": 544.997,
}
VISION = "model.vision_tower.vision_tower.vision_model"
WIDTH = 3584


def with_bias(name, shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def merge(*parts):
    return dict(itertools.chain.from_iterable(part.items() for part in parts))


def norms(width, *names):
    return merge(*(with_bias(name, (width,)) for name in names))


def language():
    layers = {}
    for index in range(28):
        layer = f"model.layers.{index}"
        layers |= {
            f"{layer}.self_attn.{name}_proj.weight": (out, WIDTH)
            for name, out in (("q", WIDTH), ("k", 512), ("v", 512), ("o", WIDTH))
        }
        layers |= {
            f"{layer}.self_attn.{name}_proj.bias": (out,) for name, out in (("q", WIDTH), ("k", 512), ("v", 512))
        }
        layers |= {f"{layer}.mlp.{name}_proj.weight": (18944, WIDTH) for name in ("gate", "up")}
        layers |= {f"{layer}.mlp.down_proj.weight": (WIDTH, 18944)}
        layers |= {f"{layer}.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    ends = {
        "model.embed_tokens.weight": (152064, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (152064, WIDTH),
    }
    return layers | ends


def vision():
    layers = {}
    for index in range(27):
        layer = f"{VISION}.encoder.layers.{index}"
        layers |= norms(1152, f"{layer}.layer_norm1", f"{layer}.layer_norm2")
        layers |= merge(*(with_bias(f"{layer}.self_attn.{name}_proj", (1152, 1152)) for name in ("q", "k", "v", "out")))
        layers |= with_bias(f"{layer}.mlp.fc1", (4304, 1152)) | with_bias(f"{layer}.mlp.fc2", (1152, 4304))
    return merge(
        layers,
        with_bias(f"{VISION}.embeddings.patch_embedding", (1152, 3, 14, 14)),
        {f"{VISION}.embeddings.position_embedding.weight": (729, 1152)},
        norms(1152, f"{VISION}.post_layernorm", f"{VISION}.head.layernorm"),
        {f"{VISION}.head.probe": (1, 1, 1152), f"{VISION}.head.attention.in_proj_weight": (3456, 1152),
         f"{VISION}.head.attention.in_proj_bias": (3456,)},
        with_bias(f"{VISION}.head.attention.out_proj", (1152, 1152)),
        with_bias(f"{VISION}.head.mlp.fc1", (4304, 1152)),
        with_bias(f"{VISION}.head.mlp.fc2", (1152, 4304)),
    )  # fmt: skip


def connector():
    shapes = {}
    for stage, block in itertools.product((1, 2), (1, 2, 3, 4)):
        first = 1152 if (stage, block) == (1, 1) else WIDTH
        name, reduced = f"model.mm_projector.s{stage}.b{block}", first // 4
        shapes |= {f"{name}.conv1.conv.weight": (WIDTH, first, 1, 1), f"{name}.conv2.conv.weight": (WIDTH, 1, 3, 3),
                   f"{name}.conv3.conv.weight": (WIDTH, WIDTH, 1, 1)}  # fmt: skip
        shapes |= norms(WIDTH, *(f"{name}.conv{number}.bn" for number in (1, 2, 3)))
        shapes |= with_bias(f"{name}.se.fc1", (reduced, WIDTH, 1, 1)) | with_bias(
            f"{name}.se.fc2", (WIDTH, reduced, 1, 1)
        )
    down = "model.mm_projector.s1.b1.downsample"
    shapes |= {f"{down}.conv.weight": (WIDTH, 1152, 1, 1)} | norms(WIDTH, f"{down}.bn")
    shapes |= with_bias("model.mm_projector.sampler.0", (WIDTH, WIDTH, 2, 2, 2))
    return shapes | merge(*(with_bias(f"model.mm_projector.readout.{index}", (WIDTH, WIDTH)) for index in (0, 2)))


def audio():
    tower = "model.audio_tower"
    layers = {f"{tower}.encoder.layers.0.self_attn.relative_attention_bias.weight": (320, 12)}
    for index in range(12):
        layer = f"{tower}.encoder.layers.{index}"
        layers |= norms(768, f"{layer}.self_attn_layer_norm", f"{layer}.final_layer_norm")
        layers |= with_bias(f"{layer}.fc1", (3072, 768)) | with_bias(f"{layer}.fc2", (768, 3072))
        layers |= merge(*(with_bias(f"{layer}.self_attn.{name}_proj", (768, 768)) for name in ("q", "k", "v", "out")))
        layers |= with_bias(f"{layer}.self_attn.grep_linear", (8, 64)) | {f"{layer}.self_attn.grep_a": (1, 12, 1, 1)}
    conv = f"{tower}.encoder.pos_conv.0"
    return merge(
        layers,
        {f"{tower}.patch_embedding.weight": (512, 1, 16, 16)},
        norms(512, f"{tower}.layer_norm"),
        norms(768, f"{tower}.encoder.layer_norm"),
        with_bias(f"{tower}.post_extract_proj", (768, 512)),
        with_bias(f"{tower}.predictor", (527, 768)),
        {f"{conv}.weight_g": (1, 1, 128), f"{conv}.weight_v": (768, 48, 128), f"{conv}.bias": (768,)},
        with_bias("model.mm_projector_a.0", (WIDTH, 768)),
        with_bias("model.mm_projector_a.2", (WIDTH, WIDTH)),
    )


def shapes_of(dims):
    """Every key of the published layout with its shape: what is used, and what never is."""
    used = build.build_parts(dims, attention="sdpa").state_dict()
    adapter = layout.key_adapter(dims)
    return {adapter.key_of(name): tuple(value.shape) for name, value in used.items()} | layout.unused_shapes(dims)


@pytest.fixture(scope="module")
def known():
    return shapes_of(PUBLISHED)


def test_every_published_key_is_known_with_its_shape(known):
    assert known == merge(language(), vision(), connector(), audio())
    assert layout.key_adapter(PUBLISHED).is_unused("lm_head_reg.fc1.weight")


def test_all_parameters_of_the_published_model_are_accounted_for(known):
    sizes = {prefix: sum(math.prod(s) for n, s in known.items() if n.startswith(prefix)) / 1e6 for prefix in MILLIONS}
    assert {prefix: round(size, 3) for prefix, size in sizes.items()} == MILLIONS
    assert round(sum(math.prod(shape) for shape in known.values()) / 1e9, 3) == 8.527


def test_every_key_of_the_reference_weights_is_known(folder):
    model = reference.build(folder)
    shapes = reference.read_json("model/state_dict_keys.json")
    ((_, copies),) = model.key_adapter.copies
    assert set(copies) <= shapes.keys()
    assert {name: list(shape) for name, shape in shapes_of(model.dims).items()} == {
        n: s for n, s in shapes.items() if n not in copies and not n.startswith(layout.HEAD)
    }


@pytest.mark.parametrize(("modal", "logits"), [("av", True), ("av", False), ("v", False), ("a", False)])
def test_only_what_a_setting_uses_is_built(modal, logits):
    asked = BuildOptions(
        frames=FrameSampling() if "v" in modal else None,
        audio=AudioWindow() if "a" in modal else None,
        logits=logits,
        load=False,
    )
    model = Videollama2(asked, size="published")
    names = {part.name for part in model.parts()}
    assert names == {"language"} | ({"vision", "connector"} if "v" in modal else set()) | (
        {"audio", "audio_connector"} if "a" in modal else set()) | ({"lm_head"} if logits else set())  # fmt: skip
    prefixes = tuple(prefix + "." for part in model.parts() for prefix in part.prefixes)
    assert all(name.startswith(prefixes) and value.is_meta for name, value in model.named_parameters())
    if "v" in modal:
        assert len(model.vision_tower.encoder.layers) == 26


def test_the_cost_of_a_sample_counts_real_tokens():
    def tokens(**more):
        asked = BuildOptions(frames=FrameSampling(), audio=AudioWindow(), load=False)
        return Videollama2(asked, size="published", **more).tokens_per_sample()

    assert tokens(exact=True) == {"text": tokens()["text"], "picture": 676, "sound": 1496}
    assert tokens()["sound"] == 798 // 16 * 8
    with torch.device("meta"):
        hub = Videollama2(BuildOptions(frames=FrameSampling(count=16), audio=None, load=False), checkpoint="owner/name")
    assert hub.tokens_per_sample()["picture"] == 1352
    assert hub.width == WIDTH
    assert 80 < hub.tokens_per_sample()["text"] < 100, "about what Qwen2's tokenizer needs"
