r"""Gaussian processes over a latent space, exact or sparse ([SVGe] section IV-D).

GPyTorch holds the kernel, BoTorch fits its parameters by L-BFGS to the marginal likelihood of the
points, of some hundreds drawn at random if there are more. A sparse process then takes in all
points by the optimal posterior at inducing points [Titsias2009]. What a search asks of the result,
means and covariances at tens of thousands of points, fifty times a round, is kept in closed form,
the same for both kinds: with inducing points $Z$ (all points, if exact),

.. math::

    P(x) = L^{-1} k(Z, x), \qquad Q(x) = L_B^{-1} P(x)

    m(x) = c + w^T P(x), \qquad k'(x, y) = k(x, y) - P(x)^T P(y) + Q(x)^T Q(y),

where $L L^T = k(Z, Z)$ (plus the noise, and no $Q$, if exact) and
$L_B L_B^T = I + \sigma^{-2} P(X) P(X)^T$.

Deviations from the released code, which is that of D-VAE: there expectation propagation fits the
process, and 100 epochs of Adam at 5e-4 hardly move the kernel's parameters and the inducing points
from where they start; here the points stay and the parameters are fitted. There each latent
dimension has a lengthscale of its own (``ard=True``) and the kernel is ``"rbf"``.
"""

import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

try:
    from botorch.models import SingleTaskGP
    from botorch.optim.fit import fit_gpytorch_mll_scipy
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.priors import LogNormalPrior
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise ImportError(
        "Gaussian processes need GPyTorch and BoTorch: pip install 'netwright[bo]'"
    ) from error

from netwright.surrogates.options import GPOptions

_JITTER = 1e-6  # of the kernel's variance, so that inducing points may lie close together
_AT_ONCE = 20_000  # points whose features are computed at a time
_PROCESS = threading.Lock()  # for what is set for the whole process


class Features(NamedTuple):
    """Points as the posterior sees them.

    Attributes:
        scaled: The points in the kernel's units.
        p: $P$.
        q: $Q$, or None for an exact process.
    """

    scaled: Float[Tensor, "point latent"]
    p: Float[Tensor, "anchor point"]
    q: Float[Tensor, "anchor point"] | None


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior of a fitted Gaussian process, in units of the scores.

    Attributes:
        kernel: GPyTorch's, over scaled points.
        anchors: The inducing points, or all points, scaled.
        root: $L$.
        inner: $L_B$, or None for an exact process.
        weights: $w$.
        constant: $c$, the prior mean.
        noise: Variance of a score around the process, scores standardised.
        shift: Of the points; they are scaled by ``1 / spread``.
        spread: See there.
        unit: Standard deviation of the scores it was fitted to.
        centre: Their mean.
    """

    kernel: Any
    anchors: Float[Tensor, "anchor latent"]
    root: Float[Tensor, "anchor anchor"]
    inner: Float[Tensor, "anchor anchor"] | None
    weights: Float[Tensor, " anchor"]
    constant: float
    noise: float
    shift: Float[Tensor, " latent"]
    spread: float
    unit: float
    centre: float

    def features(self, x: Float[Tensor, "point latent"]) -> Features:
        """Return what mean and covariance at points are made of; differentiable."""
        scaled = (x.to(self.shift) - self.shift) / self.spread
        cross = self.kernel_matrix(self.anchors, scaled)
        p = torch.linalg.solve_triangular(self.root, cross, upper=False)
        if self.inner is None:
            return Features(scaled, p, None)
        return Features(scaled, p, torch.linalg.solve_triangular(self.inner, p, upper=False))

    def mean(self, at: Features) -> Float[Tensor, " point"]:
        """Return the mean of the scores at points."""
        return self.centre + self.unit * (self.constant + self.weights @ at.p)

    def variance(self, at: Features) -> Float[Tensor, " point"]:
        """Return the variance of the process at points, without the noise of scores."""
        left = self.prior_variance(at.scaled) - at.p.square().sum(dim=0)
        if at.q is not None:
            left = left + at.q.square().sum(dim=0)
        return self.unit**2 * left.clamp(min=1e-10)

    def covariance(self, at: Features, other: Features) -> Float[Tensor, "point other"]:
        """Return the covariance of the process between points."""
        left = self.kernel_matrix(at.scaled, other.scaled) - at.p.T @ other.p
        if at.q is not None and other.q is not None:
            left = left + at.q.T @ other.q
        return self.unit**2 * left

    def kernel_matrix(
        self, scaled: Float[Tensor, "point latent"], other: Float[Tensor, "other latent"]
    ) -> Float[Tensor, "point other"]:
        """Return the kernel between scaled points, scores standardised."""
        return _dense(self.kernel, scaled, other)

    def prior_variance(self, scaled: Float[Tensor, "point latent"]) -> Float[Tensor, " point"]:
        """Return the variance at scaled points before anything is known, scores standardised."""
        return _dense_diagonal(self.kernel, scaled)

    @property
    def noise_variance(self) -> float:
        """Variance of a score around the process."""
        return self.unit**2 * self.noise

    @torch.no_grad()
    def predict(
        self, x: Float[Tensor, "point latent"]
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, " point"]]:
        """Return mean and standard deviation of the process at points, however many."""
        means, variances = [], []
        for i in range(0, max(1, len(x)), _AT_ONCE):
            at = self.features(x[i : i + _AT_ONCE])
            means.append(self.mean(at))
            variances.append(self.variance(at))
        return torch.cat(means), torch.cat(variances).sqrt()


def fit_gp(
    x: Float[Tensor, "point latent"],
    score: Float[Tensor, " score"],
    options: GPOptions | None = None,
    *,
    rng: torch.Generator,
) -> GaussianProcess:
    """Fit a Gaussian process to scores of latent points, in double precision.

    Scores are standardised, and points centred and divided by their average standard deviation:
    the proportions of the latent space are left alone.

    Args:
        x: The points.
        score: Their scores.
        options: Of the process.
        rng: Chooses inducing points, and the points that the kernel's parameters are fitted to.

    Raises:
        ValueError: If there are fewer than two points, their numbers differ, or one is not finite.
    """
    options = options or GPOptions()
    if len(x) != len(score) or len(x) < 2:
        raise ValueError(
            f"a Gaussian process needs as many scores as points, two at least: "
            f"{len(x)} points, {len(score)} scores"
        )
    if not bool(x.isfinite().all()) or not bool(score.isfinite().all()):
        raise ValueError("a Gaussian process needs finite points and scores")
    x, score = x.detach().to("cpu", torch.double), score.detach().to("cpu", torch.double)
    centre, unit = float(score.mean()), float(score.std()) or 1.0
    shift, spread = x.mean(dim=0), float(x.std(dim=0).mean()) or 1.0
    x, y = (x - shift) / spread, (score - centre) / unit
    few = torch.randperm(len(x), generator=rng)[: options.subset]
    sparse = options.inducing is not None and len(x) > options.inducing
    chosen = torch.randperm(len(x), generator=rng)[: options.inducing] if sparse else None
    kernel, constant, noise = _learned(x[few], y[few], options)
    with torch.no_grad():
        if chosen is None:
            posterior = _exact(kernel, x, y - constant, noise)
        else:
            posterior = _sparse(kernel, x[chosen], x, y - constant, noise)
    return GaussianProcess(kernel, *posterior, constant, noise, shift, spread, unit, centre)


@contextmanager
def lbfgs_alone() -> Iterator[None]:
    """Prepare the process for L-BFGS by SciPy; threads take turns.

    BoTorch switches approximations off by flags of the process. SciPy calls its BLAS for matrices
    of a few rows, where threads would cost four times what they save.
    """
    with _PROCESS, threadpool_limits(1, user_api="blas"):
        yield


_Parts = tuple[Tensor, Tensor, Tensor | None, Tensor]


def _exact(kernel: Any, x: Tensor, y: Tensor, noise: float) -> _Parts:
    root = torch.linalg.cholesky(_dense(kernel, x, x) + noise * torch.eye(len(x), dtype=x.dtype))
    weights = torch.linalg.solve_triangular(root, y[:, None], upper=False)[:, 0]
    return x, root, None, weights


def _sparse(kernel: Any, anchors: Tensor, x: Tensor, y: Tensor, noise: float) -> _Parts:
    """Return the optimal posterior of Titsias' bound, whose cost is linear in the points."""
    eye = torch.eye(len(anchors), dtype=x.dtype)
    jitter = _JITTER * _dense_diagonal(kernel, anchors[:1])
    root = torch.linalg.cholesky(_dense(kernel, anchors, anchors) + jitter * eye)
    inner, right = eye.clone(), torch.zeros(len(anchors), dtype=x.dtype)
    for i in range(0, len(x), _AT_ONCE):
        cross = _dense(kernel, anchors, x[i : i + _AT_ONCE])
        p = torch.linalg.solve_triangular(root, cross, upper=False)
        inner += p @ p.T / noise
        right += p @ y[i : i + _AT_ONCE] / noise
    inner = torch.linalg.cholesky(inner)
    weights = torch.cholesky_solve(right[:, None], inner)[:, 0]
    return anchors, root, inner, weights


def _learned(x: Tensor, y: Tensor, options: GPOptions) -> tuple[Any, float, float]:
    """Fit the kernel's parameters; return the kernel, the constant mean and the noise.

    Priors are those of [Hvarfner2024]. Lengthscales start at the root of the dimension, the scale
    of distances between points.
    """
    size = x.shape[1]
    prior = LogNormalPrior(math.sqrt(2) + math.log(size) / 2, math.sqrt(3))
    of_distance: dict[str, Any] = {
        "ard_num_dims": size if options.ard else None,
        "lengthscale_prior": prior,
        "lengthscale_constraint": GreaterThan(0.025, initial_value=math.sqrt(size)),
    }
    base = (
        MaternKernel(nu=2.5, **of_distance)
        if options.kernel == "matern"
        else RBFKernel(**of_distance)
    )
    kernel = ScaleKernel(base).double()
    likelihood = GaussianLikelihood(
        noise_prior=(of_noise := LogNormalPrior(-4.0, 1.0)),
        noise_constraint=GreaterThan(1e-4, initial_value=of_noise.mode),
    ).double()
    with lbfgs_alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that ends early: it is good enough
        model = SingleTaskGP(
            x, y[:, None], likelihood=likelihood, covar_module=kernel, outcome_transform=None
        )
        likelihood_of = ExactMarginalLogLikelihood(model.likelihood, model)
        fit_gpytorch_mll_scipy(likelihood_of, options={"maxiter": options.iterations})
    model.requires_grad_(False)
    return kernel.eval(), float(model.mean_module.constant), float(likelihood.noise)


def _dense(kernel: Any, a: Tensor, b: Tensor) -> Tensor:
    """Return the kernel's matrix; calling GPyTorch's kernel would put off computing it."""
    out: Tensor = kernel.outputscale * kernel.base_kernel.forward(a, b)
    return out


def _dense_diagonal(kernel: Any, a: Tensor) -> Tensor:
    """Return the kernel's diagonal: its kernels are stationary."""
    out: Tensor = kernel.outputscale.expand(len(a))
    return out
