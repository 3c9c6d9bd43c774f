import math

import pytest
import torch

from evqa.errors import CheckpointError, ConfigError
from evqa.heads.levels import LevelsHead
from evqa.heads.regression import RegressionHead, masked_mean
from evqa.heads.text import NumberWording, TextHead
from evqa.prompts import Prompt
from evqa.types import Output, Record

WIDTH, VOCABULARY = 8, 11
WORD_IDS = {" high": 1, " good": 2, " fair": 3, " poor": 4, " low": 5}


def squared(score_B, label_B):
    return (score_B - label_B).square().mean()


def output(hidden_BTD, mask_BT, *, answers=(), target_BT=None):
    projection = torch.linspace(-1, 1, VOCABULARY * WIDTH).view(VOCABULARY, WIDTH)
    return Output(
        hidden_BTD=hidden_BTD,
        mask_BT=mask_BT,
        answer_B=mask_BT.sum(1) - 1,
        logits_at=lambda hidden_ND: hidden_ND @ projection.T,
        word_id=WORD_IDS.__getitem__,
        generate=lambda max_new_tokens: list(answers),
        target_BT=target_BT,
    )


@pytest.fixture
def padded():
    torch.manual_seed(0)
    hidden_BTD = torch.randn(2, 5, WIDTH)
    return hidden_BTD, torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def test_masked_mean_is_the_mean_of_real_positions(padded):
    hidden_BTD, mask_BT = padded
    expected = torch.stack([hidden_BTD[0].mean(0), hidden_BTD[1, :3].mean(0)])
    torch.testing.assert_close(masked_mean(hidden_BTD, mask_BT), expected)


def test_masked_pooling_ignores_padding_and_original_pooling_does_not(padded):
    hidden_BTD, mask_BT = padded
    changed = hidden_BTD.clone()
    changed[1, 3:] += 10.0
    for pooling, same in (("masked", True), ("original", False)):
        head = RegressionHead(WIDTH, pooling=pooling).eval()
        scores = [head.read(output(hidden, mask_BT)).score_B for hidden in (hidden_BTD, changed)]
        assert torch.equal(*scores) is same


def test_a_head_on_another_scale_compares_on_that_scale_and_scores_in_0_1(padded):
    hidden_BTD, mask_BT = padded
    head = RegressionHead(WIDTH, scale=100.0, initial_score=0.5).eval()
    out = output(hidden_BTD, mask_BT)
    assert head(out).mean().item() == pytest.approx(50.0, abs=1.0)
    assert head.read(out).score_B.mean().item() == pytest.approx(0.5, abs=0.01)
    loss = head.loss(out, torch.tensor([0.1, 0.9]), squared)
    assert loss.item() == pytest.approx(((head(out) - torch.tensor([10.0, 90.0])) ** 2).mean().item())


def test_levels_are_a_softmax_over_five_words_at_the_last_prefix_token(padded):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD, mask_BT)
    at_answer_BD = torch.stack([hidden_BTD[0, 4], hidden_BTD[1, 2]])
    probabilities = out.logits_at(at_answer_BD)[:, [1, 2, 3, 4, 5]].softmax(-1)
    expected = probabilities @ torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
    torch.testing.assert_close(LevelsHead(WIDTH).read(out).score_B, expected)


def test_as_many_weights_as_words():
    with pytest.raises(ConfigError, match=r"head.weights: 2 weights for 5 different head.words"):
        LevelsHead(WIDTH, weights=[1.0, 0.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("57", 0.57),
        (" 57 ", 0.57),
        ("100", 1.0),
        ("0", 0.0),
        ("101", None),
        ("57.0", None),
        ("-3", None),
        ("about 57", None),
        ("", None),
    ],
)
def test_only_a_number_in_the_taught_format_is_read(text, value):
    assert NumberWording("", 100.0, 0, "").parse(text) == value


def test_a_number_is_worded_as_it_is_read():
    number = NumberWording("Score: ", 1.0, 2, ".")
    answer = number.answer(0.567, Prompt())
    assert (answer.prefix, answer.target) == ("Score: ", "0.57.")
    assert number.parse(answer.target) == 0.57
    assert number.answer(math.nan, Prompt()).target is None


def test_an_unreadable_answer_is_a_failure_and_no_guess(padded):
    reading = TextHead(WIDTH).read(output(*padded, answers=["42", "very engaging"]))
    assert reading.score_B[0].item() == pytest.approx(0.42)
    assert math.isnan(reading.score_B[1].item())
    assert reading.reasons == {
        1: "the model answered 'very engaging', which is not a number in the format it was taught"
    }


def test_text_loss_is_the_cross_entropy_of_the_targets(padded):
    hidden_BTD, mask_BT = padded
    target_BT = torch.full((2, 5), -100)
    target_BT[0, 3], target_BT[1, 2] = 4, 7
    out = output(hidden_BTD, mask_BT, target_BT=target_BT)
    logits = out.logits_at(torch.stack([hidden_BTD[0, 3], hidden_BTD[1, 2]]))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([4, 7]))
    torch.testing.assert_close(TextHead(WIDTH).loss(out, torch.zeros(2), squared), expected)


def test_braces_and_missing_texts_in_a_prompt(tmp_path):
    record = Record(id="x", path=tmp_path, title="{title} {0} %s", description=None)
    assert Prompt(question="T {title} D {description}.").text(record) == "T {title} {0} %s D None."


def test_a_published_head_keeps_its_scores_on_any_scale(padded):
    hidden_BTD, mask_BT = padded
    published = RegressionHead(WIDTH, scale=100.0).eval()
    for scale in (1.0, 100.0):
        head = RegressionHead(WIDTH, scale=scale).eval()
        head.load_published(published.state_dict())
        torch.testing.assert_close(
            head.read(output(hidden_BTD, mask_BT)).score_B, published.read(output(hidden_BTD, mask_BT)).score_B
        )
    with pytest.raises(CheckpointError, match=r"another size \(\(4, 8\) there, \(3, 8\) here\)"):
        RegressionHead(WIDTH, hidden=3).load_published(published.state_dict())
