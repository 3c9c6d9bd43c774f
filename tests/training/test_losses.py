import math
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from evqa.errors import ConfigError
from evqa.training.losses import L1, Huber, Mse, Plcc, Rank, Sum

YAMLS = sorted((Path(__file__).resolve().parents[2] / "conf/loss").glob("*.yaml"))
ALL = [
    Mse(),
    L1(),
    Huber(),
    Plcc(),
    Rank(kind="hinge"),
    Rank(kind="fidelity"),
    Sum(terms=[Mse(), Plcc()], weights=[1, 2]),
]


def name(loss):
    return type(loss).__name__ + getattr(loss, "kind", "")


def loss_and_gradient(loss, scores, labels):
    score_B = torch.tensor(scores, dtype=torch.float32, requires_grad=True)
    value = loss(score_B, torch.tensor(labels, dtype=torch.float32))
    value.backward()
    return value.item(), score_B.grad


def test_mse_and_plcc_have_the_originals_values_and_gradients(golden_numbers):
    for case, vectors in golden_numbers["losses"].items():
        for key, loss in (("mse", Mse()), ("plcc", Plcc())):
            value, gradient = loss_and_gradient(loss, vectors["pred"], vectors["target"])
            assert value == pytest.approx(vectors[key]["loss"], rel=1e-6, abs=1e-7), (case, key)
            expected = torch.tensor(vectors[key]["grad"])
            if key == "plcc" and case == "constant_prediction":
                assert gradient.abs().max() < 100 < expected.abs().max()  # ours on purpose; the original's is 6.6e6
                continue
            relative = 2e-3 if case == "eight_negative_corr" else 1e-5
            tolerance = max(relative * expected.abs().max().item(), 1e-6 if key == "plcc" else 0)
            assert (gradient - expected).abs().max() <= tolerance, (case, key)


def test_plcc_is_the_documented_function_of_the_correlation():
    scores, labels = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    rho = torch.corrcoef(torch.stack([scores, labels]))[0, 1]
    assert Plcc()(scores, labels).item() == pytest.approx(((1 - rho) / 4 + (1 - rho**2) / 8).item(), abs=1e-6)


@pytest.mark.parametrize("loss", ALL, ids=name)
@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0.4], [0.9]),
        ([0.4, 0.4, 0.4, 0.4], [0.1, 0.2, 0.6, 0.9]),
        ([0.1, 0.7, 0.3], [0.5, 0.5, 0.5]),
        ([0.5, 0.5], [0.5, 0.5]),
        ([-300.0, 500.0, 0.0], [1.0, 0.0, 0.5]),
    ],
    ids=["one item", "constant scores", "constant labels", "all constant", "far off and inverted"],
)
def test_every_loss_is_finite_with_finite_gradients(loss, scores, labels):
    value, gradient = loss_and_gradient(loss, scores, labels)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [Plcc(), Rank(kind="hinge"), Rank(kind="fidelity")], ids=name)
def test_constant_scores_are_pulled_apart_towards_their_labels(loss):
    _, gradient = loss_and_gradient(loss, [0.4] * 4, [0.1, 0.2, 0.6, 0.9])
    assert gradient[0] > gradient[3]
    assert gradient[3] < 0 < gradient[0]
    assert gradient.abs().max() < 300


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_items_without_a_label_change_nothing_and_get_no_gradient(loss):
    value, gradient = loss_and_gradient(loss, [0.1, 0.8, 0.3], [0.2, 0.9, 0.6])
    with_gaps, gaps_gradient = loss_and_gradient(loss, [0.1, 5.0, 0.8, 0.3], [0.2, math.nan, 0.9, 0.6])
    assert with_gaps == value
    assert gaps_gradient[[0, 2, 3]].tolist() == gradient.tolist()
    assert gaps_gradient[1] == 0


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_a_batch_without_labels_gives_zero_that_is_connected_to_the_graph(loss):
    value, gradient = loss_and_gradient(loss, [0.1, 0.8], [math.nan, math.nan])
    assert value == 0
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_half_precision_scores_are_compared_in_float32(loss):
    value = loss(torch.tensor([0.1, 0.9, 0.4], dtype=torch.bfloat16), torch.tensor([0.2, 0.7, 0.5]))
    assert value.dtype == torch.float32
    assert value.shape == ()


def test_huber_is_squared_below_delta_and_linear_above():
    value, _ = loss_and_gradient(Huber(delta=0.1), [0.05, 0.5], [0.0, 0.0])
    assert value == pytest.approx((0.05**2 / 2 + 0.1 * (0.5 - 0.05)) / 2)


def test_rank_by_hand():
    scores, labels = [0.2, 0.6, 0.5], [0.1, 0.5, 0.9]  # d = 0.4 (2>1), 0.3 (3>1), -0.1 (3>2)
    hinge, _ = loss_and_gradient(Rank(kind="hinge", margin=0.05), scores, labels)
    assert hinge == pytest.approx(0.15 / 3)
    phi = [0.5 * math.erfc(-d / 0.1 / 2) for d in (0.4, 0.3, -0.1)]
    fidelity, _ = loss_and_gradient(Rank(kind="fidelity", noise=0.1), scores, labels)
    assert fidelity == pytest.approx(sum(1 - math.sqrt(p) for p in phi) / 3, abs=1e-6)


def test_defaults_are_the_documented_numbers():
    scores, labels = [0.2, 0.6, 0.5, 0.52], [0.1, 0.5, 0.9, 0.9]
    for default, spelled in (
        (Huber(), Huber(delta=0.1)),
        (Rank(), Rank(kind="fidelity", margin=0.05, noise=0.25)),
        (Rank(kind="hinge"), Rank(kind="hinge", margin=0.05)),
        (Plcc(), Plcc(min_spread=0.001)),
    ):
        assert loss_and_gradient(default, scores, labels)[0] == loss_and_gradient(spelled, scores, labels)[0]


def test_plcc_divides_by_the_least_spread_where_scores_spread_less():
    scores, labels = [0.5, 0.501, 0.502], [0.0, 0.5, 1.0]  # the scores' spread is 8.2e-4, the least one 0.01
    value, _ = loss_and_gradient(Plcc(min_spread=0.01), scores, labels)
    z, y = [-0.1, 0.0, 0.1], [-math.sqrt(1.5), 0.0, math.sqrt(1.5)]
    rho = sum(a * b for a, b in zip(z, y, strict=True)) / 3
    by_hand = sum((a - b) ** 2 / 3 + (rho * a - b) ** 2 / 3 for a, b in zip(z, y, strict=True)) / 8
    assert value == pytest.approx(by_hand, rel=1e-4)


def test_pairs_with_equal_labels_say_nothing():
    value, gradient = loss_and_gradient(Rank(), [0.9, 0.1], [0.5, 0.5])
    assert value == 0
    assert gradient.tolist() == [0, 0]


def test_sum_is_the_weighted_sum():
    vectors = [0.1, 0.8, 0.3], [0.2, 0.9, 0.6]
    parts = [loss_and_gradient(loss, *vectors)[0] for loss in (Mse(), Plcc())]
    total, _ = loss_and_gradient(Sum(terms=[Mse(), Plcc()], weights=[1.0, 0.5]), *vectors)
    assert total == pytest.approx(parts[0] + 0.5 * parts[1])


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"must both have shape \[B\], got \(1,\) and \(\)"):
        Mse()(torch.zeros(1), torch.tensor(0.5))


def test_impossible_settings_are_reported_together():
    with pytest.raises(ConfigError) as error:
        Sum(terms=[Mse()], weights=[1.0, -1.0])
    assert error.value.problems == [
        "loss.terms has 1 losses and loss.weights 2 numbers: one each.",
        "loss.weights: -1.0 is not a number of at least 0.",
    ]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Huber(delta=0), "loss.delta=0: the Huber loss needs a number above 0."),
        (lambda: Plcc(min_spread=0), "loss.min_spread=0: the PLCC loss needs a number above 0."),
        (lambda: Rank(margin=0.0), "loss.margin=0.0: the rank loss needs a number above 0."),
        (lambda: Rank(noise=-1.0), "loss.noise=-1.0: the rank loss needs a number above 0."),
        (lambda: Rank(kind="order"), "loss.kind=order: the rank loss knows hinge and fidelity."),
        (lambda: Sum(terms=[], weights=[]), "loss.terms is empty: name at least one loss."),
    ],
)
def test_an_impossible_setting_is_answered_by_its_sentence(build, sentence):
    with pytest.raises(ConfigError) as error:
        build()
    assert error.value.problems == [sentence]


def test_a_weight_of_zero_leaves_a_loss_out():
    vectors = [0.1, 0.8, 0.3], [0.2, 0.9, 0.6]
    total, _ = loss_and_gradient(Sum(terms=[Mse(), Plcc()], weights=[1.0, 0.0]), *vectors)
    assert total == loss_and_gradient(Mse(), *vectors)[0]


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_builds_a_loss_that_falls_as_scores_approach_the_labels(path):
    loss = instantiate(OmegaConf.load(path))
    label_B = torch.tensor([0.1, 0.4, 0.5, 0.8])
    far, near = (loss(label_B + size * torch.tensor([0.9, -0.4, 0.2, -0.9]), label_B) for size in (1.0, 0.1))
    assert near < far


def test_the_yamls_are_the_ones_that_the_documentation_names():
    assert {path.stem for path in YAMLS} >= {"mse", "l1", "huber", "plcc", "rank", "mse_plcc"}
