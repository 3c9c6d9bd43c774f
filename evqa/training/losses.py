"""Losses between scores and labels, both in 0-1 (the heads' scale): errors, correlation, ranking, weighted sums.

Every loss is called with (score_B, label_B) and answers with a float32 scalar. Items whose label is NaN are left out;
a batch without any label gives 0 that is still connected to the graph, so that distributed steps stay in step. Labels
lie on the CPU in training, so that choosing items and pairs by them waits for no device.

# B batch, K labelled items, P pairs of items with different labels
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from evqa.errors import ConfigError


class Loss(ABC):
    """A differentiable distance between scores and labels.

    needs_pairs: says nothing about one item alone, so that a batch of one trains nothing. Such a loss sees one batch of
        one process at a time: accumulation and more processes average it over more batches, by their items.
    """

    needs_pairs: ClassVar[bool] = False

    def __call__(self, score_B: Tensor, label_B: Tensor) -> Tensor:
        """The loss of the labelled items, float32, shape []. Raises ValueError unless both have shape [B]."""
        if score_B.ndim != 1 or score_B.shape != label_B.shape:
            shapes = f"{tuple(score_B.shape)} and {tuple(label_B.shape)}"
            raise ValueError(f"Scores and labels must both have shape [B], got {shapes}.")
        score_K, label_K = score_B.float(), label_B.float()
        labelled_K = (~torch.isnan(label_K)).nonzero()[:, 0]
        if len(labelled_K) < len(label_K):
            score_K, label_K = score_K.index_select(0, beside(labelled_K, score_K)), label_K[labelled_K]
        return self.of_labelled(score_K, label_K) if len(score_K) else score_K.sum()

    @abstractmethod
    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """The loss of at least one item, all with labels, in float32; labels may lie elsewhere (see `beside`)."""


def beside(values: Tensor, other: Tensor) -> Tensor:
    """Send values to another tensor's device, without waiting for it."""
    return values.to(other.device, non_blocking=True)


class Mse(Loss):
    """Mean squared error."""

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """Mean of (score - label)^2."""
        return functional.mse_loss(score_K, beside(label_K, score_K))


class L1(Loss):
    """Mean absolute error."""

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """Mean of |score - label|."""
        return functional.l1_loss(score_K, beside(label_K, score_K))


class Huber(Loss):
    """Squared for errors below `delta` (in 0-1), linear above."""

    def __init__(self, *, delta: Annotated[float, "0 < delta"] = 0.1) -> None:
        if not delta > 0:
            raise ConfigError([f"loss.delta={delta}: the Huber loss needs a number above 0."])
        self.delta = delta

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """Mean of d^2 / 2 where |d| < delta, else delta (|d| - delta / 2)."""
        return functional.huber_loss(score_K, beside(label_K, score_K), delta=self.delta)


class Plcc(Loss):
    """LMM-EVQA's correlation loss: (1 - rho) / 4 + (1 - rho^2) / 8, between 0 (rho = 1) and 0.5 (rho = -1).

    As there, it is half the sum of mse(z, y) / 4 and mse(rho z, y) / 4 of standardised scores z and labels y. The
    formula is the original's wherever scores and labels spread by more than `min_spread` (standard deviation, in 0-1).
    Below it we differ on purpose: the original divides by a spread of 1e-8, so a batch of constant scores, common at
    the start, gives gradients of 1e6 to 1e7. We divide by `min_spread`: such a batch is still pulled apart in the
    direction of its labels, with gradients of the order 1 / (K min_spread). One item has no correlation and gives 0.
    """

    needs_pairs: ClassVar[bool] = True

    def __init__(self, *, min_spread: Annotated[float, "0 < min_spread"] = 1e-3) -> None:
        if not min_spread > 0:
            raise ConfigError([f"loss.min_spread={min_spread}: the PLCC loss needs a number above 0."])
        self.min_spread = min_spread

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """The loss; 0.25 for constant scores, 0.125 for constant labels, as in the original."""
        z_K, y_K = self._standardised(score_K), self._standardised(beside(label_K, score_K))
        rho = (z_K * y_K).mean()
        return 0.5 * (functional.mse_loss(z_K, y_K) / 4 + functional.mse_loss(rho * z_K, y_K) / 4)

    def _standardised(self, values_K: Tensor) -> Tensor:
        centred_K = values_K - values_K.mean()
        # Clamped before the root: the root's gradient at 0 is infinite.
        spread = centred_K.square().mean().clamp_min(self.min_spread**2).sqrt()
        return centred_K / (spread + 1e-8)


class Rank(Loss):
    """Order of all pairs in the batch whose labels differ; says nothing about the scale of the scores.

    kind "hinge": max(0, margin - d), d the score of the higher-labelled item less that of the other. The margin must
        be above 0: constant scores would otherwise be perfect.
    kind "fidelity": 1 - sqrt(p), p = Phi(d / (sqrt(2) noise)) the probability that the pair is ordered as its labels
        are (Thurstone's model; Tsai et al. 2007, FRank, eq. 4; Zhang et al. 2021, UNIQUE, eq. 4-5, with fixed noise).
    margin and noise are in 0-1.
    """

    needs_pairs: ClassVar[bool] = True

    def __init__(
        self,
        *,
        kind: Literal["hinge", "fidelity"] = "fidelity",
        margin: Annotated[float, "0 < margin"] = 0.05,
        noise: Annotated[float, "0 < noise"] = 0.25,
    ) -> None:
        problems = [
            f"loss.{name}={value}: the rank loss needs a number above 0."
            for name, value in (("margin", margin), ("noise", noise))
            if not value > 0
        ]
        if kind not in ("hinge", "fidelity"):
            problems.append(f"loss.kind={kind}: the rank loss knows hinge and fidelity.")
        if problems:
            raise ConfigError(problems)
        self.kind, self.margin, self.noise = kind, margin, noise

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """Mean over the pairs; 0, connected to the graph, where no two labels differ."""
        higher_P, lower_P = torch.nonzero(label_K[:, None] > label_K[None, :], as_tuple=True)
        d_P = score_K[beside(higher_P, score_K)] - score_K[beside(lower_P, score_K)]
        if len(d_P) == 0:
            return d_P.sum()
        if self.kind == "hinge":
            return (self.margin - d_P).clamp_min(0).mean()
        # The root through the logarithm: exact, and its gradient stays finite where p underflows.
        log_p_P = torch.special.log_ndtr(d_P / (2**0.5 * self.noise))
        return -torch.expm1(0.5 * log_p_P).mean()


class Sum(Loss):
    """A weighted sum of losses, for instance MSE + 0.5 PLCC."""

    def __init__(self, *, terms: list[Loss], weights: list[Annotated[float, "0 <= weight"]]) -> None:
        problems = []
        if not terms:
            problems.append("loss.terms is empty: name at least one loss.")
        if len(terms) != len(weights):
            problems.append(f"loss.terms has {len(terms)} losses and loss.weights {len(weights)} numbers: one each.")
        problems += [f"loss.weights: {weight} is not a number of at least 0." for weight in weights if not weight >= 0]
        if problems:
            raise ConfigError(problems)
        self.terms, self.weights = list(terms), [float(weight) for weight in weights]

    def of_labelled(self, score_K: Tensor, label_K: Tensor) -> Tensor:
        """Sum of weight x loss."""
        losses = [w * term.of_labelled(score_K, label_K) for w, term in zip(self.weights, self.terms, strict=True)]
        return torch.stack(losses).sum()
