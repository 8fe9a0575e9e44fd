r"""Bayesian linear regression on the features of a neural network, DNGO [Snoek2015].

A network of tanh layers learns the scores; then its last layer is taken away, and a Bayesian
linear regression on what it reads takes its place:

.. math::

    w \sim \mathcal N(0, \alpha^{-1} I), \qquad y \sim \mathcal N(w^T \phi(x), \beta^{-1})

    m(x) = \phi(x)^T \mu, \qquad v(x) = \beta^{-1} + \phi(x)^T S \phi(x),

with $S = (\alpha I + \beta \Phi^T \Phi)^{-1}$ and $\mu = \beta S \Phi^T y$. The sizes are those
that [Yan2020] searches with.

Deviations from the code that [Yan2020] uses (pybnn): $\alpha$ and $\beta$ maximise the evidence
(there: an average over twenty Markov chains of theirs); an epoch's last batch, which may be a small
one, is learned too.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS = 1000  # of the fixed-point iteration for alpha and beta, at most
_BOUND = 22026.5  # alpha and beta lie within exp(-10) and exp(10), as in pybnn


@dataclass(frozen=True)
class DNGOOptions:
    """What kind of network.

    Attributes:
        hidden: Size of a layer.
        layers: How many.
        epochs: Passes over the scores.
        batch_size: Scores per step of Adam.
        learning_rate: Of Adam.
    """

    hidden: int = 128
    layers: int = 3
    epochs: int = 100
    batch_size: int = 10
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class LinearRegression:
    r"""The posterior of a Bayesian linear regression.

    Attributes:
        mean: $\mu$.
        covariance: $S$.
        alpha: Precision of the prior.
        beta: Precision of a score.
    """

    mean: Float[Tensor, " feature"]
    covariance: Float[Tensor, "feature feature"]
    alpha: float
    beta: float

    def predict(
        self, features: Float[Tensor, "point feature"]
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, " point"]]:
        """Return mean and standard deviation of a score at points, noise included."""
        variance = 1 / self.beta + ((features @ self.covariance) * features).sum(dim=1)
        return features @ self.mean, variance.sqrt()


class TanhNetwork:
    """Layers of tanh units and a linear one of a single output, without autograd.

    Steps of training are many and tiny: written out, they take a fifth of their time.

    Args:
        size: Of the points.
        hidden: Of a layer.
        layers: How many there are before the last.
        rng: Draws the initial parameters, as `torch.nn.Linear` does.
    """

    def __init__(self, size: int, hidden: int, layers: int, *, rng: torch.Generator) -> None:
        self._sizes = [size] + [hidden] * layers + [1]
        self.flat = torch.zeros(sum((into + 1) * out for into, out in pairwise(self._sizes)))
        self._layers = self._cut(self.flat)
        for weight, bias in self._layers:
            bound = len(weight) ** -0.5
            weight.uniform_(-bound, bound, generator=rng)
            bias.uniform_(-bound, bound, generator=rng)

    def features(self, x: Float[Tensor, "point size"]) -> Float[Tensor, "point hidden"]:
        """Return what the last layer reads."""
        return self._activations(x)[-1]

    def train(
        self,
        x: Float[Tensor, "point size"],
        target: Float[Tensor, " point"],
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        rng: torch.Generator,
    ) -> None:
        """Minimise the mean squared error by Adam [Kingma2015]; ``rng`` draws the order."""
        gradient = torch.zeros_like(self.flat)
        parts = self._cut(gradient)
        first, second, step = torch.zeros_like(gradient), torch.zeros_like(gradient), 0
        for _ in range(epochs):
            for batch in torch.randperm(len(x), generator=rng).split(batch_size):
                self._backward(x[batch], target[batch], parts)
                step += 1
                first.lerp_(gradient, 0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                size = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
                self.flat.addcdiv_(first, size, value=-learning_rate / (1 - 0.9**step))

    def _backward(
        self,
        x: Float[Tensor, "point size"],
        target: Float[Tensor, " point"],
        gradient: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Compute the gradient of the mean squared error, in place."""
        inputs = self._activations(x)
        weight, bias = self._layers[-1]
        lost = (torch.addmm(bias, inputs[-1], weight) - target[:, None]).mul_(2 / len(x))
        for i in range(len(inputs) - 1, -1, -1):
            torch.mm(inputs[i].T, lost, out=gradient[i][0])
            torch.sum(lost, dim=0, out=gradient[i][1])
            if i:  # through the weights, and the tanh
                lost = (lost @ self._layers[i][0].T).mul_(1 - inputs[i].square())

    def _activations(self, x: Float[Tensor, "point size"]) -> list[Tensor]:
        """Return what each layer reads."""
        found = [x]
        for weight, bias in self._layers[:-1]:
            found.append(torch.addmm(bias, found[-1], weight).tanh_())
        return found

    def _cut(self, flat: Float[Tensor, " parameter"]) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias of every layer, views of one tensor."""
        parts, start = [], 0
        for into, out in pairwise(self._sizes):
            middle, end = start + into * out, start + (into + 1) * out
            parts.append((flat[start:middle].view(into, out), flat[middle:end]))
            start = end
        return parts


@dataclass(frozen=True, eq=False)
class DNGO:
    r"""A fitted network and the regression on its features, in units of the scores.

    Attributes:
        network: Its features are $\phi$, over points of mean 0 and deviation 1.
        regression: Over standardised scores.
        noise: Variance of a score, scores standardised: $1 / \beta$.
        shift: Of the points.
        spread: Of the points, by which they are divided.
        unit: Standard deviation of the scores it was fitted to.
        centre: Their mean.
    """

    network: TanhNetwork
    regression: LinearRegression
    noise: float
    shift: Float[Tensor, " latent"]
    spread: Float[Tensor, " latent"]
    unit: float
    centre: float

    def predict(
        self, x: Float[Tensor, "point latent"]
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, " point"]]:
        """Return mean and standard deviation of a score at points, its noise included."""
        features = self.network.features((x.to(self.shift) - self.shift) / self.spread).double()
        mean, sd = self.regression.predict(features)
        return self.centre + self.unit * mean, self.unit * sd


def fit_dngo(
    x: Float[Tensor, "point latent"],
    score: Float[Tensor, " score"],
    options: DNGOOptions | None = None,
    *,
    rng: torch.Generator,
) -> DNGO:
    """Fit a network to scores of latent points, and a Bayesian linear regression to its features.

    Scores, and every coordinate of the points, are standardised.

    Args:
        x: The points.
        score: Their scores.
        options: Of the network.
        rng: Draws the network's initial parameters and the order of the scores.

    Raises:
        ValueError: If there are fewer than two points, their numbers differ, or one is not finite.
    """
    options = options or DNGOOptions()
    if len(x) != len(score) or len(x) < 2:
        raise ValueError(
            f"a regression needs as many scores as points, two at least: {len(x)} points, "
            f"{len(score)} scores"
        )
    if not bool(x.isfinite().all()) or not bool(score.isfinite().all()):
        raise ValueError("a regression needs finite points and scores")
    x, score = x.detach().to("cpu", torch.float), score.detach().to("cpu", torch.double)
    centre, unit = float(score.mean()), float(score.std(correction=0)) or 1.0
    shift, spread = x.mean(dim=0), x.std(dim=0, correction=0)
    spread = spread.where(spread > 0, 1.0)
    scaled, target = (x - shift) / spread, (score - centre) / unit
    network = TanhNetwork(x.shape[1], options.hidden, options.layers, rng=rng)
    network.train(
        scaled,
        target.float(),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        rng=rng,
    )
    regression = fit_linear(network.features(scaled).double(), target)
    return DNGO(network, regression, 1 / regression.beta, shift, spread, unit, centre)


def fit_linear(
    features: Float[Tensor, "point feature"], target: Float[Tensor, " point"]
) -> LinearRegression:
    r"""Fit a Bayesian linear regression, its precisions by maximising the evidence.

    The fixed point of [MacKay1992], in the eigenbasis of $\Phi^T \Phi$ with eigenvalues $\lambda$:

    .. math::

        \gamma = \sum_i \frac{\beta \lambda_i}{\alpha + \beta \lambda_i}, \qquad
        \alpha = \frac{\gamma}{\mu^T \mu}, \qquad
        \beta = \frac{n - \gamma}{\lVert y - \Phi \mu \rVert^2}.
    """
    values, basis = torch.linalg.eigh(features.T @ features)
    values = values.clamp(min=0)
    along = basis.T @ (features.T @ target)
    whole, count = float(target.square().sum()), len(target)
    alpha = beta = 1.0
    for _ in range(_STEPS):
        before = alpha, beta
        curvature = alpha + beta * values
        mean = beta * along / curvature
        fitted = whole - 2 * float(mean @ along) + float(mean.square() @ values)
        known = float((beta * values / curvature).sum())
        alpha = _bounded(known, float(mean.square().sum()))
        beta = _bounded(count - known, fitted)
        if max(abs(alpha / before[0] - 1), abs(beta / before[1] - 1)) < 1e-6:
            break
    curvature = alpha + beta * values
    covariance = (basis / curvature) @ basis.T
    return LinearRegression(basis @ (beta * along / curvature), covariance, alpha, beta)


def _bounded(above: float, below: float) -> float:
    """Return a quotient of numbers that are not negative, but for rounding, within bounds."""
    return min(max(above / max(below, 1e-12), 1 / _BOUND), _BOUND)
