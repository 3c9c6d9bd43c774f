import math
from dataclasses import replace

import pytest
import torch

from evqa.errors import CheckpointError, ConfigError
from evqa.heads.conversation import ConversationHead
from evqa.heads.levels import LevelsHead, weighted_levels
from evqa.heads.regression import RegressionHead
from evqa.heads.text import NumberWording, TextHead
from evqa.models.padded import PaddedOutput
from evqa.models.splice import Targets
from evqa.prompts.decoding import Decoding
from evqa.prompts.prompt import Prompt
from evqa.types import Inputs, LabelScale
from tests.asking import PROMPT

WIDTH, VOCABULARY = 8, 11
WORD_IDS = {" high": 1, " good": 2, " fair": 3, " poor": 4, " low": 5}


def squared(score_B, label_B):
    return (score_B - label_B).square().mean()


def output(hidden_BTD, mask_BT, *, targets=()):
    """targets: row, position and id of what is learned."""
    lm_head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False).requires_grad_(False)
    lm_head.weight.data = torch.linspace(-1, 1, VOCABULARY * WIDTH).view(VOCABULARY, WIDTH)
    return PaddedOutput(
        hidden_BTD=hidden_BTD,
        mask_BT=mask_BT,
        answer_B=mask_BT.sum(1) - 1,
        lm_head=lm_head,
        to_id=WORD_IDS.__getitem__,
        lengths=mask_BT.sum(1).tolist(),
        targets=Targets(**{name: [one[at] for one in targets] for at, name in enumerate(("rows", "positions", "ids"))}),
    )


class Model:
    """Gives one output, and writes given answers."""

    def __init__(self, output=None, answers=()):
        self.output, self.answers, self.asked = output, answers, []

    def __call__(self, inputs):
        return self.output

    def generate(self, inputs, decoding):
        self.asked.append(decoding)
        yield [answer[:1] for answer in self.answers]
        yield [answer[1:] for answer in self.answers]


def scores(head, out):
    return head.score(Model(out), Inputs()).score_B


def words(head, label, prompt=PROMPT):
    return [(turn.text, turn.learn) for turn in head.wording.turns(label, prompt)]


@pytest.fixture
def padded():
    torch.manual_seed(0)
    hidden_BTD = torch.randn(2, 5, WIDTH)
    return hidden_BTD, torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def test_masked_mean_is_the_mean_of_real_positions(padded):
    hidden_BTD, mask_BT = padded
    expected = torch.stack([hidden_BTD[0].mean(0), hidden_BTD[1, :3].mean(0)])
    torch.testing.assert_close(output(hidden_BTD, mask_BT).mean_BD(), expected)
    first_BT = torch.tensor([[True] + [False] * 4, [False] * 5])
    assert torch.equal(output(hidden_BTD, first_BT).mean_BD(), torch.stack([hidden_BTD[0, 0], torch.zeros(WIDTH)]))


def test_masked_pooling_ignores_padding_and_original_pooling_does_not(padded):
    hidden_BTD, mask_BT = padded
    changed = hidden_BTD.clone()
    changed[1, 3:] += 10.0
    for pooling, same in (("masked", True), ("original", False)):
        head = RegressionHead(WIDTH, pooling=pooling).eval()
        pair = [scores(head, output(hidden, mask_BT)) for hidden in (hidden_BTD, changed)]
        assert torch.equal(*pair) is same


def test_a_head_on_another_scale_compares_on_that_scale_and_scores_in_0_1(padded):
    hidden_BTD, mask_BT = padded
    head = RegressionHead(WIDTH, scale=100.0, initial_score=0.5).eval()
    out = output(hidden_BTD, mask_BT)
    assert head(out).mean().item() == pytest.approx(50.0, abs=1.0)
    assert scores(head, out).mean().item() == pytest.approx(0.5, abs=0.01)
    loss = head.loss(out, torch.tensor([0.1, 0.9]), squared)
    assert loss.item() == pytest.approx(((head(out) - torch.tensor([10.0, 90.0])) ** 2).mean().item())


def test_levels_are_a_softmax_over_five_words_at_the_last_prefix_token(padded):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD, mask_BT)
    at_answer_BD = torch.stack([hidden_BTD[0, 4], hidden_BTD[1, 2]])
    logits_BL = out.logits(at_answer_BD)[:, [1, 2, 3, 4, 5]].double()
    expected = logits_BL.softmax(-1) @ torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]).double()
    torch.testing.assert_close(scores(LevelsHead(WIDTH), out), expected)
    logits_BL[:, [0, 4]] = 0.0
    zeroed = LevelsHead(WIDTH, zeroed=[" high", " low"], weights=[1.0, 0.8, 0.6, 0.4, 0.2])
    torch.testing.assert_close(scores(zeroed, out), logits_BL.softmax(-1) @ torch.tensor(zeroed.weights).double())


def test_no_logit_is_too_large_for_the_softmax():
    logits_BL = torch.tensor([[3e4, 3e4, 0.0], [-3e4, 2e4, 2e4]])
    assert weighted_levels(logits_BL, [1.0, 0.5, 0.0]).tolist() == [0.75, 0.25]


def test_defaults_of_a_head_are_the_documented_ones():
    torch.manual_seed(0)
    head = RegressionHead(400)
    assert (head.pooling, head.scale, head.dropout) == ("masked", 1.0, 0.1)
    assert head.fc2.bias.tolist() == [0.5]
    assert head.fc1.bias.tolist() == [0.0] * 200
    assert head.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head.fc2.weight.shape == (1, 200)
    assert words(LevelsHead(WIDTH), 0.3) == [("The engagement of the video is", False)]
    text = TextHead(WIDTH)
    assert words(text, 0.567) == [("The engagement of the video is ", False), ("57", True)]
    assert text.max_new_tokens == 12


def test_what_a_head_words_is_the_prompts_sentence_its_prefix_or_its_number():
    assert words(RegressionHead(WIDTH), 0.5) == [(PROMPT.answer, False)]
    assert words(LevelsHead(WIDTH, prefix="It is"), 0.5) == [("It is", False)]
    text = TextHead(WIDTH, prefix="P ", scale=10.0, decimals=1, ending=".")
    assert words(text, 0.5) == [("P ", False), ("5.0.", True)]
    assert words(text, None) == words(text, math.nan) == [("P ", False)]


def test_a_heads_words_speak_of_what_the_label_measures():
    quality = Prompt().fitted(LabelScale(name="MOS", range=(1, 5)))
    assert words(LevelsHead(WIDTH), None, quality) == [("The quality of the video is", False)]
    assert words(TextHead(WIDTH), None, quality) == [("The quality of the video is ", False)]
    assert words(RegressionHead(WIDTH), None, quality) == [("The quality of the video.", False)]


@pytest.mark.parametrize("head", [LevelsHead, TextHead])
def test_an_unknown_name_in_a_heads_words_is_refused(head):
    with pytest.raises(ConfigError, match=r"head\.prefix: there is no \{title\}; only \{quantity\}"):
        head(WIDTH, prefix="{title} is")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_dropout_leaves_out_its_share_in_training_only(padded, share):
    out, head = output(*padded), RegressionHead(WIDTH, hidden=64, dropout=share)
    scored = head.eval()(out)
    trained = torch.stack([head.train()(out) for _ in range(20)])
    assert torch.equal(scored, head.eval()(out))
    assert (scored != 0.5).all()
    assert torch.equal(trained, scored.expand(20, 2)) is (share == 0.0)
    assert (trained == 0.5).all() == (share == 1.0)  # nothing passes but the last bias


def test_a_head_in_half_precision_scores_in_float32(padded):
    head = RegressionHead(WIDTH).to(torch.bfloat16).eval()
    assert head(output(*padded)).dtype == torch.float32


def test_levels_compare_their_weighted_sum_and_keep_no_weights_in_checkpoints(padded):
    out, head = output(*padded), LevelsHead(WIDTH)
    label_B = torch.tensor([0.1, 0.8])
    assert head.loss(out, label_B, squared) == squared(head(out), label_B)
    assert head.loss(out, label_B, lambda score_B, label_B: (score_B - 2 * label_B).sum()) == pytest.approx(
        (head(out) - 2 * label_B).sum().item()
    )
    assert head.score(Model(out), Inputs()).reasons == {}
    assert head.state_dict() == {}


def test_a_head_reads_one_sample_and_a_batch_of_three_alike(padded):
    hidden_BTD, mask_BT = (torch.cat([part, part[:1]]) for part in padded)
    head = LevelsHead(WIDTH)
    whole = head(output(hidden_BTD, mask_BT))
    alone = [head(output(hidden_BTD[i : i + 1], mask_BT[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(alone))


def test_as_many_weights_as_words():
    with pytest.raises(ConfigError, match=r"head.weights: 2 weights for 5 different head.words"):
        LevelsHead(WIDTH, weights=[1.0, 0.0])
    with pytest.raises(ConfigError, match=r"head.zeroed: ' bad' is none of head.words. Name some of \[' high', "):
        LevelsHead(WIDTH, zeroed=[" bad"])


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
    assert [turn.text for turn in number.turns(0.567, PROMPT)] == ["Score: ", "0.57."]
    assert number.parse("0.57.") == 0.57


def test_an_unreadable_answer_is_a_failure_and_no_guess():
    reading = TextHead(WIDTH).score(Model(answers=["42", "very engaging"]), Inputs())
    assert reading.score_B[0].item() == pytest.approx(0.42)
    assert math.isnan(reading.score_B[1].item())
    assert reading.reasons == {
        1: "the model answered 'very engaging', which is not a number in the format it was taught"
    }


def test_only_the_first_sixty_characters_of_an_answer_are_shown_and_the_limit_of_tokens_is_kept():
    model = Model(answers=["x" * 61, "7"])
    reading = TextHead(WIDTH, max_new_tokens=5).score(model, Inputs())
    assert model.asked == [Decoding(max_new_tokens=5)]
    assert list(reading.reasons) == [0]
    assert f"the model answered '{'x' * 60}', which" in reading.reasons[0]


def test_text_without_targets_gives_a_loss_of_zero_that_is_connected_to_the_graph(padded):
    hidden_BTD, mask_BT = padded
    hidden_BTD.requires_grad_()
    loss = TextHead(WIDTH).loss(output(hidden_BTD, mask_BT), torch.zeros(2), squared)
    assert loss == 0
    loss.backward()
    assert hidden_BTD.grad.tolist() == torch.zeros_like(hidden_BTD).tolist()


def test_the_first_token_of_the_vocabulary_is_learned_like_any_other(padded):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD, mask_BT, targets=[(0, 3, 0)])
    expected = torch.nn.functional.cross_entropy(out.logits(hidden_BTD[0, 3:4]), torch.tensor([0]))
    assert expected > 0
    torch.testing.assert_close(TextHead(WIDTH).loss(out, torch.zeros(2), squared), expected)
    assert TextHead(WIDTH).count(out, torch.zeros(2)) == 1
    assert TextHead(WIDTH).count(output(hidden_BTD, mask_BT), torch.zeros(2)) == 0


def test_text_loss_is_the_cross_entropy_of_the_targets(padded):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD, mask_BT, targets=[(0, 3, 4), (1, 2, 7)])
    logits = out.logits(torch.stack([hidden_BTD[0, 3], hidden_BTD[1, 2]]))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([4, 7]))
    torch.testing.assert_close(TextHead(WIDTH).loss(out, torch.zeros(2), squared), expected)


def test_a_published_head_keeps_its_scores_on_any_scale(padded):
    hidden_BTD, mask_BT = padded
    published = RegressionHead(WIDTH, scale=100.0).eval()
    for scale in (1.0, 100.0):
        head = RegressionHead(WIDTH, scale=scale).eval()
        head.load_published(published.state_dict())
        torch.testing.assert_close(
            scores(head, output(hidden_BTD, mask_BT)), scores(published, output(hidden_BTD, mask_BT))
        )
        assert torch.equal(head.fc1.weight, published.fc1.weight)
    with pytest.raises(CheckpointError, match=r"another size \(\(4, 8\) there, \(3, 8\) here\)"):
        RegressionHead(WIDTH, hidden=3).load_published(published.state_dict())


WORDY = {"train": "words", "ending": "."}


def test_levels_that_learn_words_word_the_labels_level_and_its_ending():
    head = LevelsHead(WIDTH, **WORDY)
    assert words(head, 0.9) == [("The engagement of the video is", False), (" high", True), (".", True)]
    assert words(head, None) == words(head, math.nan) == [("The engagement of the video is", False)]
    assert words(LevelsHead(WIDTH, train="words"), 0.1)[1:] == [(" low", True)]
    mos = Prompt().fitted(LabelScale(name="MOS", range=(1, 5)))
    assert words(head, LabelScale(name="MOS", range=(1, 5)).to_unit(3.0), mos)[1:] == [(" fair", True), (".", True)]


def test_levels_that_learn_words_lower_the_next_token_loss_and_score_as_before(padded):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD, mask_BT, targets=[(0, 3, 1), (0, 4, 7), (1, 2, 4)])
    head = LevelsHead(WIDTH, **WORDY)
    logits = out.logits(torch.stack([hidden_BTD[0, 3], hidden_BTD[0, 4], hidden_BTD[1, 2]]))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 7, 4]))
    label_B = torch.tensor([0.9, 0.3])
    torch.testing.assert_close(head.loss(out, label_B, None), expected)
    assert (head.count(out, label_B), LevelsHead(WIDTH).count(out, label_B)) == (3, 2)
    assert (head.takes_loss, LevelsHead(WIDTH).takes_loss) == (False, True)
    torch.testing.assert_close(scores(head, out), scores(LevelsHead(WIDTH), out))


def test_words_that_could_not_be_scored_are_refused_before_they_are_learned(padded):
    def to_id(word):
        raise ConfigError([f"{word} is two tokens"])

    with pytest.raises(ConfigError, match="high is two tokens"):
        LevelsHead(WIDTH, **WORDY).loss(replace(output(*padded), to_id=to_id), torch.tensor([0.1, 0.2]), None)


def test_an_ending_that_nothing_learns_is_refused():
    with pytest.raises(ConfigError, match=r"head.ending='.': it is learned with head.train=words only"):
        LevelsHead(WIDTH, ending=".")


def test_a_head_of_conversations_words_nothing_and_gives_no_scores(padded):
    head = ConversationHead(WIDTH)
    assert words(head, 0.5) == []
    with pytest.raises(ConfigError, match="ConversationHead learns conversations and gives no scores"):
        head.score(Model(output(*padded)), Inputs())


@pytest.mark.parametrize("head", [ConversationHead(WIDTH), TextHead(WIDTH), LevelsHead(WIDTH, train="words")])
def test_a_batch_that_teaches_no_word_has_no_loss_and_still_reaches_the_model(padded, head):
    hidden_BTD, mask_BT = padded
    out = output(hidden_BTD.clone().requires_grad_(), mask_BT)
    loss = head.loss(out, torch.tensor([math.nan, math.nan]), None)
    loss.backward()
    assert (loss.item(), int(head.count(out, torch.zeros(2)))) == (0.0, 0)
    assert torch.equal(out.hidden_BTD.grad, torch.zeros_like(hidden_BTD))


@pytest.mark.parametrize("head", [RegressionHead(WIDTH), LevelsHead(WIDTH)])
def test_scores_that_are_close_stay_apart_where_the_rest_computes_in_bfloat16(head):
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    near_B = torch.linspace(1.0, 1.01, 100)
    out = output(torch.ones(100, 1, WIDTH) * near_B.view(-1, 1, 1), torch.ones(100, 1, dtype=torch.bool))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found_B = scores(head.eval(), out)
    assert torch.equal(found_B, scores(head, out))
    assert len(found_B.unique()) > 90
