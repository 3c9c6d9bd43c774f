"""Two processes that hold a model's shards: compare it with the whole model, which each of them builds beside it.

Arguments: a file for them to meet at, and cases [[model, modal, head, precision, model's arguments, recipe], ...].
"""

import json
import os
import signal
import sys
from types import SimpleNamespace

import torch

from evqa.training.build import build_model, build_module
from evqa.training.plan import read_plan
from evqa.training.sharding import in_step
from tests.models.toys import configure, samples

LABELS = torch.tensor([0.2, 0.4, 0.6, 0.8])
SHARES = {"apart": ([0, 1, 2], [3]), "one has nothing": ([], [2, 0])}  # items of each process; the last has no media
EVALUATED = ([[0, 1], [3], [2]], [[3]])
BOUNDS = {"32-true": {"atol": 1e-6, "rtol": 1e-4}, "bf16-mixed": {"atol": 2e-3, "rtol": 0.1}}


def build(plan, precision, *, later):
    scorer = build_model(plan, later=later)
    module = build_module(plan, scorer)
    vars(module)["_trainer"] = SimpleNamespace(precision=precision)
    vars(module)["training_step"] = lambda numbers: loss_of(module, numbers)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.head.parameters():
            parameter.normal_(std=0.3)
    return scorer, module.train()


def loss_of(module, numbers):
    if not numbers:
        return module._zero_loss() if module.shards is None else module.shards.pass_by()
    output = module.model(module.model.preparer.collate([module.items[n] for n in numbers]))
    return module.head.loss(output, LABELS[numbers], module.criterion)


def train(module, numbers, precision):
    torch.manual_seed(0)  # of dropout
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        loss = module.training_step(numbers)
    loss.backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    for parameter in module.parameters():
        parameter.grad = None
    return loss.detach(), gradients


def scores(module, numbers, precision):
    inputs = module.model.preparer.collate([module.asked[n] for n in numbers])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        return module.head.score(module.model, inputs).score_B.tolist()


def mean(gradients):
    names = gradients[0].keys() | gradients[1].keys()
    return {name: sum(one[name] for one in gradients if name in one) / 2 for name in names}


def check(rank, name, modal, head, precision, arguments, recipe):
    config = configure(name, modal, head, arguments=arguments)
    for key, value in recipe.items():
        config.lora[key] = value
    plan = read_plan(config)
    scorer, whole = build(plan, precision, later=False)
    _, sharded = build(plan, precision, later=True)
    whole.items = sharded.items = samples(scorer, modal, learn=True)
    whole.asked = sharded.asked = samples(scorer, modal, learn=False)
    is_laid_out = any(parameter.is_meta for parameter in sharded.parameters())
    assert is_laid_out is (name != "tiny")
    mesh = torch.distributed.init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    sharded._device_mesh = mesh
    sharded.configure_model()
    weights = dict(whole.named_parameters())
    assert weights.keys() == dict(sharded.named_parameters()).keys()
    num_held = 0
    for key, parameter in sharded.named_parameters():
        assert torch.equal(parameter.full_tensor(), weights[key]), key
        assert parameter.requires_grad is weights[key].requires_grad, key
        num_held += parameter.to_local().numel()
    assert num_held < 0.7 * sum(weight.numel() for weight in weights.values())
    for buffer, other in zip(sharded.buffers(), whole.buffers(), strict=True):
        assert torch.equal(buffer, other)
    for shares in SHARES.values():
        losses, expected = zip(*(train(whole, share, precision) for share in shares), strict=True)
        loss, gradients = train(sharded, shares[rank], precision)
        torch.testing.assert_close(loss, losses[rank], **BOUNDS[precision])
        wanted = mean(expected)
        assert gradients.keys() >= wanted.keys()
        for key, gradient in gradients.items():
            together = gradient.full_tensor()
            other = wanted.get(key, torch.zeros_like(together))
            torch.testing.assert_close(together, other, **BOUNDS[precision], msg=lambda text, key=key: f"{key}: {text}")
    if sharded.head.gives_scores:
        sharded.eval()
        whole.eval()
        batches = EVALUATED[rank]
        found = list(in_step(sharded.shards, (scores(sharded, batch, precision) for batch in batches)))
        alone = [scores(whole, batch, precision) for batch in batches]
        bound = 1e-6 if precision == "32-true" else 2e-2
        for one, other in zip(found, alone, strict=True):
            torch.testing.assert_close(torch.tensor(one), torch.tensor(other), atol=bound, rtol=0, equal_nan=True)
    print(rank, name, modal, head, precision, "fits", flush=True)


def main(rank, meeting, cases):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for case in cases:
        check(rank, *case)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    child = os.fork()  # what is imported is imported once
    try:
        main(int(child == 0), sys.argv[1], json.loads(sys.argv[2]))
    except BaseException:
        if child:
            os.kill(child, signal.SIGKILL)
        raise
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
