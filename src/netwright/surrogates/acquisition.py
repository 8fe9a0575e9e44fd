r"""Expected improvement over a Gaussian process, one point at a time or a batch by fantasies.

A batch is chosen greedily [Ginsbourger2010]: each point counts as evaluated at its posterior mean,
which leaves the mean of all others alone and takes from their variance what it explains:

.. math:: k'(x, x) - k'(x, X) \left(k'(X, X) + \sigma^2 I\right)^{-1} k'(X, x)

with $X$ the points chosen so far. So one factorisation serves a whole batch ([SVGe] section IV-D,
as in the released code of D-VAE).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor

from netwright.surrogates.gp import Features, GaussianProcess

_SQRT_2 = math.sqrt(2)
_LOG_SQRT_2PI = math.log(2 * math.pi) / 2


def log_expected_improvement(
    mean: Float[Tensor, " point"], sd: Float[Tensor, " point"], best: float
) -> Float[Tensor, " point"]:
    r"""Return $\log E[\max(f - \mathrm{best}, 0)]$, finite however small it is [Ament2023].

    Args:
        mean: Of $f$, normally distributed.
        sd: Its standard deviation.
        best: What is to be improved on.
    """
    u = (mean - best) / sd
    # log(phi(u) + u Phi(u)): as it stands where u is not small ...
    high = u.clamp(min=-1)
    direct = (torch.exp(-high.square() / 2 - _LOG_SQRT_2PI) + high * torch.special.ndtr(high)).log()
    # ... and by the scaled tail elsewhere, where it would round to log 0:
    # phi(u) (1 - t), with t = |u| Phi(u) / phi(u); 1 - t tends to 1 / u^2 far out.
    low = u.clamp(max=-1)
    ratio = math.sqrt(math.pi / 2) * torch.special.erfcx(-low.clamp(min=-1e4) / _SQRT_2)
    left = torch.where(low > -1e3, 1 + low.clamp(min=-1e3) * ratio, 1 / low.square())
    tail = -low.square() / 2 - _LOG_SQRT_2PI + left.log()
    return sd.log() + torch.where(u > -1, direct, tail)


@dataclass(frozen=True, eq=False)
class Batch:
    """Points chosen from a batch of candidates.

    Attributes:
        points: The points, in the order in which they were chosen.
        index: The candidate that each is, or started from.
    """

    points: Float[Tensor, "chosen latent"]
    index: Int[Tensor, " chosen"]


def choose_batch(
    gp: GaussianProcess,
    candidates: Float[Tensor, "candidate latent"],
    count: int,
    *,
    best: float,
    pending: Float[Tensor, "pending latent"] | None = None,
    iterations: int = 0,
    bounds: tuple[Tensor, Tensor] | None = None,
) -> Batch:
    """Choose points of large expected improvement one after another, each a fantasy for the next.

    Args:
        gp: The process.
        candidates: Where to look.
        count: How many to choose; fewer if there are fewer candidates.
        best: What is to be improved on, in units of the scores.
        pending: Points that are being evaluated.
        iterations: Of L-BFGS from the best candidate; 0 takes the candidate itself.
        bounds: Lowest and highest coordinates that L-BFGS may go to.

    Raises:
        ValueError: If L-BFGS is to run without bounds.
    """
    if iterations and bounds is None:
        raise ValueError("L-BFGS needs bounds to stay in")
    candidates = candidates.to(gp.shift)
    chosen = torch.empty(0, candidates.shape[1]).to(candidates) if pending is None else pending
    chosen = chosen.to(candidates)
    first = len(chosen)
    with torch.no_grad():
        at = gp.features(candidates)
        mean, variance = gp.mean(at), gp.variance(at)
    free = torch.ones(len(candidates), dtype=torch.bool)
    index: list[int] = []
    for _ in range(min(count, len(candidates))):
        with torch.no_grad():
            known = _Fantasies(gp, chosen)
            left = known.left(variance, at)
            value = log_expected_improvement(mean, left.sqrt(), best)
            row = int(value.masked_fill(~free, -torch.inf).argmax())
        free[row] = False
        index.append(row)
        point = candidates[row]
        if iterations and bounds is not None:
            point = _climb(gp, known, point, best, iterations, bounds)
        chosen = torch.cat([chosen, point[None]])
    return Batch(chosen[first:], torch.tensor(index, dtype=torch.long))


class _Fantasies:
    """Points that count as evaluated: what they leave of the variance of others."""

    def __init__(self, gp: GaussianProcess, points: Float[Tensor, "chosen latent"]) -> None:
        self.gp, self.count = gp, len(points)
        if self.count:
            self.at: Features = gp.features(points)
            own = gp.covariance(self.at, self.at)
            noisy = own + max(gp.noise_variance, 1e-6 * gp.unit**2) * torch.eye(len(own)).to(own)
            self.root = torch.linalg.cholesky(noisy)

    def left(self, variance: Float[Tensor, " point"], at: Features) -> Float[Tensor, " point"]:
        if not self.count:
            return variance
        cross = self.gp.covariance(self.at, at)
        told = torch.linalg.solve_triangular(self.root, cross, upper=False)
        floor = 1e-10 * self.gp.unit**2
        left: Tensor = (variance - told.square().sum(dim=0)).clamp(min=floor)
        return left


def _climb(
    gp: GaussianProcess,
    known: _Fantasies,
    start: Float[Tensor, " latent"],
    best: float,
    iterations: int,
    bounds: tuple[Tensor, Tensor],
) -> Float[Tensor, " latent"]:
    """Improve on a point by L-BFGS within bounds."""

    def negative(values: Any) -> tuple[float, Any]:
        x = torch.tensor(values, dtype=start.dtype, requires_grad=True)
        at = gp.features(x[None])
        sd = known.left(gp.variance(at), at).sqrt()
        value = -log_expected_improvement(gp.mean(at), sd, best)[0]
        (gradient,) = torch.autograd.grad(value, x)
        return float(value.detach()), gradient.numpy()

    low, high = (bound.to(start) for bound in bounds)
    begin = torch.minimum(torch.maximum(start, low), high)
    limits = list(zip(low.tolist(), high.tolist(), strict=True))
    found = minimize(
        negative,
        begin.numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"maxiter": iterations},
    )
    return torch.tensor(found.x, dtype=start.dtype)
