r"""Predict scores from the latent space of a generator ([SVGe] section IV-C).

A regressor of four linear layers, 56-28-14-7-1 in the paper's latent space of 56 dimensions, reads
the mean of the posterior. It is trained jointly with the generator, on

.. math:: (1 - w) \text{MSE} + w L,

where $L$ is the loss of the generator. $w = 0$ leaves the decoder alone, which is several times
as fast.

Deviation: the labels are standardised, whereas the released code takes the MSE of accuracies as
they are. As Adam does not mind the scale of a loss, that is the loss here with
``weight = w / (w + (1 - w) * variance)``: 0.97 for the released 0.1 and the variance 0.0033 of
test accuracies in NAS-Bench-101.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator, HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import scoped, stream
from netwright.surrogates.predictors import Labels, not_fitted, perceptron
from netwright.surrogates.regression import Regression, Training, load_parameters


@dataclass(frozen=True)
class Joint:
    """How to train generator and regressor together.

    Attributes:
        training: The steps.
        weight: That of the generator's loss, $w$.
        regressors: How many are trained; their mean predicts. One so narrow is stuck now and then,
            its last units always at 0, several are not.

    Raises:
        ValueError: If the weight is not from 0 to below 1, or there is no regressor.
    """

    training: Training
    weight: float = 0.1
    regressors: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1:
            raise ValueError(f"the weight of the generator's loss is {self.weight}, not in [0, 1)")
        if self.regressors < 1:
            raise ValueError(f"{self.regressors} regressors: at least 1")

    def lasting(self, epochs: int) -> "Joint":
        """Return the same with another number of epochs."""
        return replace(self, training=replace(self.training, epochs=epochs))


#: "paper" is what [SVGe] and its released code have; "best" was chosen on training cells of
#: NAS-Bench-101 (``docs/results``).
PRESETS = {
    "paper": Joint(Training(epochs=100, batch_size=32, learning_rate=1e-3, schedule="plateau")),
    "best": Joint(
        Training(
            epochs=20,
            batch_size=32,
            learning_rate=1e-3,
            schedule="cosine",
            warmup=0.05,
            clip=5.0,
            average=0.5,
        ),
        weight=0.0,
        regressors=8,
    ),
}


@final
class LatentPredictor:
    """Predicts scores from the latent space of a generator that is fine-tuned to that end.

    Besides `netwright.surrogates.predictors.Predictor`: training can be carried out step by step
    and be interrupted, by `begin`, `run` and `state_dict`.

    Args:
        generator: Fitted to architectures; it is copied, and stays as it is.
        joint: How both are trained, like one of `PRESETS`.

    Raises:
        ValueError: If the generator has no latent space.
    """

    def __init__(self, generator: Generator, joint: Joint = PRESETS["best"]) -> None:
        if not isinstance(generator, HasLatent):
            raise ValueError(f"{type(generator).__name__} has no latent space to predict from")
        self.generator, self.joint = generator, joint
        self._module: _Module | None = None
        self._regression: Regression | None = None
        self._scale: tuple[float, float] = (0.0, 1.0)
        self._state: dict[str, Any] = {}

    @property
    def seconds(self) -> float:
        """Spent on training so far."""
        return 0.0 if self._regression is None else self._regression.seconds

    @property
    def finished(self) -> bool:
        """Whether training is over."""
        return self._regression is not None and self._regression.finished

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`: `begin`, and `run` to the end.

        Raises:
            ValueError: As `Predictor.fit`.
            RuntimeError: As `run`.
        """
        self.begin(archs, score, rng=rng)
        for _ in self.run():
            pass

    def begin(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Prepare training from the beginning.

        Raises:
            ValueError: As `Predictor.fit`.
        """
        labels = Labels.of(archs, score, self.generator.layout)
        seed = int(torch.randint(2**62, (), generator=rng))
        module = _Module(self.generator, self.joint.regressors, seed)
        device = next(module.parameters()).device
        known, target = labels.archs.to(device), labels.target.to(device)

        def loss(batch: Int[Tensor, " batch"], rng: torch.Generator) -> Float[Tensor, ""]:
            batch = batch.to(device)
            return module.loss(known[batch], target[batch], self.joint.weight, rng=rng)

        self._regression = Regression(module, loss, len(target), self.joint.training, seed=seed)
        self._module, self._scale = module, (labels.mean, labels.sd)

    def run(self) -> Iterator[float | None]:
        """Train, yielding after every step: the mean loss of an epoch at its end, else None.

        Raises:
            ValueError: If training was not begun.
            RuntimeError: If the loss is not finite; parameters are those before the step.
        """
        if self._regression is None:
            raise ValueError("there is nothing to train on: call begin first")
        yield from self._regression.run()

    @torch.no_grad()
    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`, with what has been learnt so far."""
        if self._module is None:
            raise not_fitted()
        generator = self._module.generator
        assert isinstance(generator, HasLatent)
        device = next(self._module.parameters()).device
        return self.predict_latent(encode_means(generator, archs.to(device))).to(archs.device)

    @torch.no_grad()
    def predict_latent(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """Return the predicted scores of points of the fine-tuned latent space.

        Raises:
            ValueError: If nothing was learnt yet.
        """
        if self._module is None:
            raise not_fitted()
        mean, sd = self._scale
        return mean + sd * self._module.regressed(latent)

    @property
    def tuned(self) -> Generator:
        """The generator as it was fine-tuned.

        Raises:
            ValueError: If nothing was learnt yet.
        """
        if self._module is None:
            raise not_fitted()
        return self._module.generator

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learnt: a tree of tensors, which are those in use, and JSON values.

        Raises:
            ValueError: If nothing was learnt yet.
        """
        if self._module is None:
            raise not_fitted()
        if self._regression is None:  # of a state that was loaded to predict
            return self._state
        return {"scale": list(self._scale), "regression": self._regression.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`: with training after `begin`, else with predictions.

        Raises:
            ValueError: If it is that of another generator, other labels or another seed.
        """
        mean, sd = state["scale"]
        if self._regression is None:
            module = _Module(self.generator, self.joint.regressors, 0)
            load_parameters(module, state["regression"]["module"])
            self._module, self._scale, self._state = module, (mean, sd), state
        elif (mean, sd) != self._scale:
            raise ValueError("that training had other labels: were its data changed?")
        else:
            self._regression.load_state_dict(state["regression"])


class _Module(nn.Module):
    """A copy of a generator, and the regressors on its latent space."""

    def __init__(self, generator: Generator, regressors: int, seed: int) -> None:
        super().__init__()
        assert isinstance(generator, HasLatent)
        parameter = next(generator.parameters())
        self.generator: Generator = copy.deepcopy(generator).eval().requires_grad_(True)
        sizes = [generator.latent_size, 28, 14, 7, 1]
        with scoped(stream(seed, "regressors")):
            self.regressors = nn.ModuleList(perceptron(sizes) for _ in range(regressors))
        self.regressors.to(parameter.device, parameter.dtype)

    def regressed(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """Return standardised scores."""
        return torch.cat([one(latent) for one in self.regressors], dim=1).mean(dim=1)

    def loss(
        self,
        archs: ArchitectureBatch,
        target: Float[Tensor, " batch"],
        weight: float,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        generator = self.generator
        assert isinstance(generator, HasLatent)
        found = self.regressed(generator.encode(archs)[0])
        loss = (1 - weight) * nn.functional.mse_loss(found, target)
        return loss + weight * generator.loss(archs, rng=rng) if weight else loss
