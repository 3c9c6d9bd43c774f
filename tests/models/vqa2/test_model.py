"""The model computes what the original's code computes."""

from types import SimpleNamespace

import pytest
import torch

from evqa.heads.levels import LevelsHead
from evqa.heads.next_token import next_token_loss
from evqa.prompts.decoding import Decoding
from evqa.training.tuning import Tuning, apply_tuning
from tests.models.vqa2 import reference
from tests.models.vqa2.reference import ACTIVATION, LOGIT, SCORE, Case

FIRST_LETTER = 0x4E00
pytestmark = pytest.mark.usefixtures("vqa2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return reference.write_checkpoint(tmp_path_factory.mktemp("vqa2") / "checkpoint")


@pytest.fixture(scope="module")
def model(folder):
    return reference.build(folder)


def scored(model, inputs, facts):
    """Scores by the case's own words and weights, from the token ids of the reference."""
    head = LevelsHead(model.width, weights=[float(weight) for weight in facts["level_weights"]])
    head._word_ids = lambda output: facts["level_token_ids"]
    return head(model(inputs))


@torch.no_grad()
@pytest.mark.parametrize("name", reference.cases(kind="video"))
def test_a_video_is_scored_as_by_the_original(model, name):
    case = Case.read(name)
    if case.num_places == 1:  # the original computes motion and does not insert it
        case = case.without_motion()
    close(model.sequence(case.inputs(model)).embeds_BTD, case.tensors["inputs_embeds"], ACTIVATION)
    output = model(case.inputs(model))
    close(output.hidden_BTD, case.tensors["final_hidden"], ACTIVATION)
    close(output.logits(output.answer_BD())[0], case.tensors["logits_pos_-3"], LOGIT)
    close(scored(model, case.inputs(model), case.facts)[0], case.tensors["score"][0], SCORE)


@torch.no_grad()
@pytest.mark.parametrize("name", reference.cases(kind="image"))
def test_an_image_is_scored_as_by_the_original(model, name):
    case = Case.read(name)
    close(model.sequence(case.inputs(model)).embeds_BTD, case.tensors["inputs_embeds"], ACTIVATION)
    output = model(case.inputs(model))
    close(output.logits(output.answer_BD())[0], case.tensors["logits_pos_-3"], LOGIT)


def close(ours, theirs, tolerance):
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("name", reference.cases(kind="answer"))
def test_questions_are_answered_as_by_the_original(folder, name):
    """Ids of the tiny vocabulary belong to no text, so each stands for a letter; no token ends an answer."""
    case, model = Case.read(name), reference.build(folder, doubled_motion=True)
    close(model.sequence(case.inputs(model)).embeds_BTD, case.tensors["inputs_embeds"], ACTIVATION)
    output = model(case.inputs(model))
    close(output.logits(output.answer_BD())[0], case.tensors["logits_pos_-1"], LOGIT)
    model.chat = SimpleNamespace(end=-1, pad=-1, decode=lambda ids: "".join(chr(FIRST_LETTER + one) for one in ids))
    expected = case.facts["greedy_new_ids"]
    pieces = model.generate(case.inputs(model), Decoding(max_new_tokens=len(expected)))
    assert [ord(letter) - FIRST_LETTER for (piece,) in pieces for letter in piece] == expected


def test_a_conversation_is_learned_as_by_the_original(folder):
    names = reference.read_json("grad_norms_train_video_a.json")
    for name in reference.cases(kind="train"):
        case, model = Case.read(name), reference.build(folder)
        apply_tuning(model, Tuning(freeze=()))
        loss = next_token_loss(model(case.inputs(model)))
        close(loss, case.tensors["loss"][0], SCORE)
        loss.backward()
        for key, norm in names.items():
            check_gradient(model, key, norm, case.tensors.get(f"grad.{key}"))


def check_gradient(model, key, norm, gradient):
    """Gradients of dead weights are none; the others are compared where they stand in the reference."""
    ours = dict(model.named_parameters()).get(model.key_adapter.name_of(key))
    assert (ours is None or ours.grad is None) == (norm is None), key
    if norm is not None:
        assert abs(ours.grad.norm().item() - norm) <= 1e-3 * norm + 1e-5, key
    if gradient is not None:
        assert (ours.grad - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5, key


@torch.no_grad()
def test_a_score_depends_on_nothing_else_in_its_batch(model):
    names = [*reference.cases(kind="video"), *reference.cases(kind="image")]
    given = [case for case in map(Case.read, names) if case.num_places == 2 or case.clip.image is not None]
    together = model(reference.batch(model, given)).answer_BD()
    for case, mixed_D in zip(given, together, strict=True):
        alone_D = model(case.inputs(model)).answer_BD()[0]
        close(mixed_D, alone_D, 1e-5)
