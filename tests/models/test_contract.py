"""What every model, head and recipe must do together. All three are found by listing their folders.

A model's twin is tests/models/twins/<name>.py, where <name> is the module's (evqa/models/<name>.py, or the package's).
Several YAML files of one class (sizes of one model) share a twin and are built once.
"""

import importlib
import math
import pickle

import pytest
import torch

from evqa.config.signature import read_schema
from evqa.datasets.base import Dataset
from evqa.heads.base import Head
from evqa.models.base import Model, Preparer
from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from evqa.training.tuning import is_adapter, part_of
from tests.models.toys import COMPOSER, MODELS, configure, options, randomise, samples

HEADS = options("head")
MATRIX = [
    pytest.param(name, modal, head, id=f"{name}-{modal}-{head}")
    for name, (_, modalities) in MODELS.items()
    for modal in modalities
    for head in HEADS
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def declared(module, lora):
    """Name the parameters that a recipe says it trains, from the parts alone."""
    model = module.model
    parts = {part.name for part in model.parts()}
    trained = parts - set(model.frozen_parts()) if lora == "none" else {"connector", "audio_connector"}
    names = {f"model.{n}" for n, _ in model.named_parameters() if is_adapter(n) or part_of(model, n) in trained}
    return names | {f"head.{name}" for name, _ in module.head.named_parameters()}


@pytest.mark.parametrize("lora", ["none", "r8"])
@pytest.mark.parametrize(("name", "modal", "head"), MATRIX)
def test_one_step_trains_what_is_declared_and_a_score_is_the_same_alone(twin, name, modal, head, lora):
    torch.manual_seed(0)
    config = configure(name, modal, head, lora, arguments=twin(name))
    scorer = build_model(read_plan(config))
    module = build_module(read_plan(config), scorer)
    check_one_step(module, samples(scorer, modal, learn=True), lora)
    randomise(module)
    check_invariance(module.eval(), samples(scorer, modal, learn=False))


def check_one_step(module, items, lora):
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = module.optimizer.build(module.named_trained())
    output = module.train().model(module.model.preparer.collate(items))
    loss = module.head.loss(output, torch.tensor([0.2, 0.4, 0.6, 0.8]), module.criterion)
    assert torch.isfinite(loss)
    loss.backward()
    named = dict(module.named_parameters())
    wanted = declared(module, lora)
    assert {name for name, parameter in named.items() if parameter.requires_grad} == wanted
    assert {name for name, parameter in named.items() if parameter.grad is not None} == wanted
    assert all(torch.isfinite(named[name].grad).all() for name in wanted)
    optimizer.step()
    changed = {name for name, parameter in named.items() if not torch.equal(parameter, before[name])}
    assert changed <= wanted
    assert groups(module, changed) == groups(module, wanted)


def groups(module, names):
    return {"head" if n.startswith("head.") else part_of(module.model, n.removeprefix("model.")) for n in names}


@torch.no_grad()
def check_invariance(module, items):
    if not module.head.gives_scores:
        check_losses(module, items)
        return

    def score(of):
        return module.head.score(module.model, module.model.preparer.collate(of))

    together, turned = score(items), score(items[::-1])
    for index, item in enumerate(items):
        alone = score([item])
        expected, reason = alone.score_B[0].item(), alone.reasons.get(0)
        for reading, row in ((together, index), (turned, len(items) - 1 - index)):
            assert reading.reasons.get(row) == reason
            assert reading.score_B[row].item() == pytest.approx(expected, abs=1e-5, nan_ok=True)
    scores = [score for score in together.score_B.tolist() if not math.isnan(score)]
    assert together.reasons or max(scores) - min(scores) > 1e-3


def check_losses(module, items):
    """The loss of a batch is the mean over the tokens of its samples, whatever stands beside them."""

    def seen(of):
        output = module.model(module.model.preparer.collate(of))
        label_B = torch.full([len(of)], math.nan)
        return float(module.head.loss(output, label_B, None)), int(module.head.count(output, label_B))

    alone = [seen([item]) for item in items]
    loss, count = seen(items)
    assert count == sum(number for _, number in alone)
    assert all(number > 0 for _, number in alone)
    assert loss == pytest.approx(sum(one * number for one, number in alone) / count, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_fits_its_interface(twin, name):
    config = configure(name, MODELS[name][1][0], "levels", arguments=twin(name))
    model = build_model(read_plan(config)).model
    assert isinstance(model, Model)
    assert isinstance(pickle.loads(pickle.dumps(model.preparer)), Preparer)
    assert model.width > 0
    assert model.base_name()
    assert model.tokens_per_sample()["text"] > 0
    with pytest.raises(ValueError, match="empty"):
        model.preparer.collate([])
    assert model.reads_images is (model.preparer.clip.image is not None)
    parts = [part.name for part in model.parts()]
    assert len(parts) == len(set(parts))
    assert {"language"} <= set(parts) <= set(model.part_names)
    names = {name for name, _ in [*model.named_modules(), *model.named_parameters()]}
    assert {prefix for part in model.parts() for prefix in part.prefixes} <= names


@pytest.mark.parametrize("head", HEADS)
def test_a_head_fits_its_interface(head):
    target = str(COMPOSER.compose([f"head={head}"]).head._target_)
    module, _, kind = target.rpartition(".")
    cls = getattr(importlib.import_module(module), kind)
    assert issubclass(cls, Head)
    assert read_schema(target).facts["needs_logits"] is cls.needs_logits
    assert pickle.loads(pickle.dumps(cls(8).wording)) == cls(8).wording


@pytest.mark.parametrize("data", options("data"))
def test_a_data_set_fits_its_interface(data):
    node = COMPOSER.compose([f"data={data}"]).data
    module, _, kind = str(node._target_).rpartition(".")
    cls = getattr(importlib.import_module(module), kind)
    assert issubclass(cls, Dataset)
    assert not getattr(cls.load, "__isabstractmethod__", False)


@pytest.mark.parametrize("name", MODELS)
def test_the_repeated_layers_of_a_part_belong_to_it_and_are_not_inside_of_each_other(twin, name):
    model = build_model(read_plan(configure(name, MODELS[name][1][-1], "levels", arguments=twin(name)))).model
    blocks = model.blocks()
    names = {id(module): name for name, module in model.named_modules()}
    assert len(blocks["language"]) >= 1
    for part, layers in blocks.items():
        held = [f"{names[id(layer)]}.{weight}" for layer in layers for weight, _ in layer.named_parameters()]
        assert held
        assert len(held) == len(set(held))
        assert {part_of(model, weight) for weight in held} == {part}
