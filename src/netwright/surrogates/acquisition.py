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

from netwright.surrogates.gp import Features, GaussianProcess, lbfgs_alone

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
    with torch.no_grad():
        at = gp.features(candidates)
        fantasies = _Fantasies(gp, at)
        for point in () if pending is None else pending.to(candidates):
            fantasies.add(point)
        mean = gp.mean(at)
        climb = _Climb(gp) if iterations else None
    free = torch.ones(len(candidates), dtype=torch.bool)
    index: list[int] = []
    points: list[Tensor] = []
    for _ in range(min(count, len(candidates))):
        value = log_expected_improvement(mean, fantasies.left.sqrt(), best)
        row = int(value.masked_fill(~free, -torch.inf).argmax())
        free[row] = False
        point = candidates[row]
        if climb is not None and bounds is not None:
            point = climb(point, fantasies, best, iterations, bounds)
        with torch.no_grad():
            fantasies.add(point)
        index.append(row)
        points.append(point)
    chosen = torch.stack([candidates.new_zeros(candidates.shape[1]), *points])[1:]
    return Batch(chosen, torch.tensor(index, dtype=torch.long))


class _Fantasies:
    r"""Points that count as evaluated, and the variance they leave candidates.

    With $R R^T = k'(X, X) + \sigma^2 I$, a point takes the square of $R^{-1} k'(X, x)$ from the
    variance at $x$; a point more is a row more of $R$, and of that.

    Attributes:
        at: The points.
        left: The variance that is left at the candidates.
    """

    def __init__(self, gp: GaussianProcess, candidates: Features) -> None:
        self.gp, self.candidates = gp, candidates
        self.left = gp.variance(candidates)
        self.floor = 1e-10 * gp.unit**2
        self.at = Features(
            candidates.scaled[:0],
            candidates.p[:, :0],
            None if candidates.q is None else candidates.q[:, :0],
        )
        self.root = self.left.new_zeros(0, 0)
        self.taken = self.left.new_zeros(0, len(self.left))

    def add(self, point: Float[Tensor, " latent"]) -> None:
        """Count a point as evaluated."""
        gp = self.gp
        new = gp.features(point[None])
        row = torch.linalg.solve_triangular(self.root, gp.covariance(self.at, new), upper=False)
        noise = max(gp.noise_variance, 1e-6 * gp.unit**2)
        own = gp.covariance(new, new) + noise - row.T @ row
        pivot = own.clamp(min=noise * 1e-3).sqrt()
        taken = (gp.covariance(new, self.candidates) - row.T @ self.taken) / pivot
        self.left = (self.left - taken[0].square()).clamp(min=self.floor)
        self.taken = torch.cat([self.taken, taken])
        longer = torch.nn.functional.pad(self.root, (0, 1))
        self.root = torch.cat([longer, torch.cat([row.T, pivot], dim=1)])
        self.at = Features(
            torch.cat([self.at.scaled, new.scaled]),
            torch.cat([self.at.p, new.p], dim=1),
            None if self.at.q is None or new.q is None else torch.cat([self.at.q, new.q], dim=1),
        )


class _Climb:
    """L-BFGS from single points, with all that does not depend on the point multiplied out.

    With $k = k(Z, x)$, the mean is linear in $k$ and the variance is $k(x, x) - k^T C k$: two
    products instead of the triangular solves that many points at once are better off with.
    """

    def __init__(self, gp: GaussianProcess) -> None:
        self.gp = gp
        eye = torch.eye(len(gp.root), dtype=gp.root.dtype)
        inverse = torch.linalg.solve_triangular(gp.root, eye, upper=False)
        self.linear = gp.weights @ inverse
        self.quadratic = inverse.T @ inverse
        if gp.inner is not None:
            inner = torch.linalg.solve_triangular(gp.inner, inverse, upper=False)
            self.quadratic = self.quadratic - inner.T @ inner

    def __call__(
        self,
        start: Float[Tensor, " latent"],
        fantasies: _Fantasies,
        best: float,
        iterations: int,
        bounds: tuple[Tensor, Tensor],
    ) -> Float[Tensor, " latent"]:
        """Return a point of larger expected improvement within the bounds."""
        gp, number = self.gp, len(fantasies.root)
        both = torch.cat([gp.anchors, fantasies.at.scaled])
        with torch.no_grad():
            between = self.quadratic @ gp.kernel_matrix(gp.anchors, fantasies.at.scaled)

        def negative(values: Any) -> tuple[float, Any]:
            x = torch.tensor(values, dtype=start.dtype, requires_grad=True)
            scaled = ((x - gp.shift) / gp.spread)[None]
            k, own = gp.kernel_matrix(both, scaled)[:, 0].tensor_split([len(gp.anchors)])
            mean = gp.centre + gp.unit * (gp.constant + self.linear @ k)
            variance = gp.prior_variance(scaled)[0] - k @ self.quadratic @ k
            if number:
                cross = gp.unit**2 * (own - k @ between)
                taken = torch.linalg.solve_triangular(fantasies.root, cross[:, None], upper=False)
                variance = variance - taken.square().sum() / gp.unit**2
            sd = gp.unit * variance.clamp(min=1e-10).sqrt()
            value = -log_expected_improvement(mean[None], sd[None], best)[0]
            (gradient,) = torch.autograd.grad(value, x)
            return float(value.detach()), gradient.numpy()

        low, high = (bound.to(start) for bound in bounds)
        begin = torch.minimum(torch.maximum(start, low), high)
        limits = list(zip(low.tolist(), high.tolist(), strict=True))
        with lbfgs_alone():
            found = minimize(
                negative,
                begin.numpy(),
                jac=True,
                method="L-BFGS-B",
                bounds=limits,
                options={"maxiter": iterations},
            )
        return torch.tensor(found.x, dtype=start.dtype)
