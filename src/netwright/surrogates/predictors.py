"""Predict the score of an architecture from the scores of others.

`netwright.surrogates.latent` predicts from the latent space of a generator ([SVGe] section IV-C);
those here are what it has to beat: a tree ensemble and a multilayer perceptron on binary features
of the graph, and the mean.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import insist_complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.encodings import adjacency_encoding, path_encoding
from netwright.graphs.layout import Layout
from netwright.rng import scoped
from netwright.surrogates.regression import Regression, Training

_PATHS = 400  # bits of the path encoding, the shortest paths; NAS-Bench-101 has 364


@runtime_checkable
class Predictor(Protocol):
    """Learns scores, and predicts those of other architectures."""

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn from scores, and forget what was learnt before.

        Args:
            archs: The architectures.
            score: Theirs; a NaN (a failed evaluation) is left out.
            rng: Source of all randomness.

        Raises:
            ValueError: If there are not as many scores as architectures, none is known, one is
                infinite, or an architecture is of another layout.
        """
        ...

    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the predicted scores, in the units of those learnt.

        Raises:
            ValueError: If nothing was learnt yet, or an architecture is of another layout.
        """
        ...


@dataclass(frozen=True, eq=False)
class Labels:
    """Scores that are known, standardised: of mean 0 and, unless all are equal, deviation 1.

    Attributes:
        archs: The architectures, padded to the layout.
        target: Their standardised scores.
        mean: Of the scores.
        sd: Of the scores; 1 if all are equal.
    """

    archs: ArchitectureBatch
    target: Float[Tensor, " label"]
    mean: float
    sd: float

    @classmethod
    def of(
        cls, archs: ArchitectureBatch, score: Float[Tensor, " batch"], layout: Layout
    ) -> "Labels":
        """Take the architectures whose score is known.

        Raises:
            ValueError: As `Predictor.fit`.
        """
        if len(archs) != len(score):
            raise ValueError(f"{len(score)} scores for {len(archs)} architectures")
        known = ~score.isnan()
        value = score[known].double()
        if not len(value):
            raise ValueError("no score is known: a predictor needs at least one to learn from")
        if not bool(value.isfinite().all()):
            raise ValueError("a score is infinite: leave it out, or give NaN for a failure")
        mean, sd = float(value.mean()), float(value.std(correction=0))
        sd = sd if sd > 0 else 1.0
        target = ((value - mean) / sd).float()
        return cls(insist_complete(archs, layout)[known], target, mean, sd)


def features(archs: ArchitectureBatch, layout: Layout) -> Float[Tensor, "batch bit"]:
    """Return the path encoding and the adjacency encoding of graphs, side by side.

    Raises:
        ValueError: If one is not a complete graph of the layout.
    """
    archs = insist_complete(archs, layout)
    inner = layout.allowed_ops[1:-1].any(dim=0).nonzero()[:, 0].tolist()
    paths = path_encoding(archs, [op for op in inner if op != layout.end_op], truncate=_PATHS)
    return torch.cat([paths, adjacency_encoding(archs, layout.num_ops)], dim=1).float()


@final
class MeanPredictor:
    """Predicts the mean of the scores it has learnt, whatever the architecture.

    Its squared error is the variance of the scores: what a predictor has to beat.

    Args:
        layout: Of the architectures.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._mean: float | None = None

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`; nothing is drawn."""
        del rng
        self._mean = Labels.of(archs, score, self.layout).mean

    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`."""
        if self._mean is None:
            raise not_fitted()
        return torch.full((len(insist_complete(archs, self.layout)),), self._mean)


@final
class TreePredictor:
    """A random forest on `features` ([Breiman2001]; scikit-learn's).

    Args:
        layout: Of the architectures.
        trees: How many.
        leaf: Least number of labels in a leaf.
        share: Of the features, drawn for each split.
    """

    def __init__(
        self, layout: Layout, *, trees: int = 200, leaf: int = 3, share: float = 0.3
    ) -> None:
        self.layout, self.trees, self.leaf, self.share = layout, trees, leaf, share
        self._forest: Any = None
        self._scale = (0.0, 1.0)

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`."""
        from sklearn.ensemble import RandomForestRegressor  # slow to import

        labels = Labels.of(archs, score, self.layout)
        forest = RandomForestRegressor(
            self.trees,
            min_samples_leaf=self.leaf,
            max_features=self.share,
            random_state=int(torch.randint(2**31, (), generator=rng)),
        )
        forest.fit(features(labels.archs, self.layout).numpy(), labels.target.numpy())
        self._forest, self._scale = forest, (labels.mean, labels.sd)

    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`."""
        if self._forest is None:
            raise not_fitted()
        bits = features(archs, self.layout)
        found = self._forest.predict(bits.numpy()) if len(bits) else torch.zeros(0)
        mean, sd = self._scale
        return (mean + sd * torch.as_tensor(found)).float()


@final
class EncodingMLP:
    """A multilayer perceptron on `features`, of two hidden layers.

    Args:
        layout: Of the architectures.
        hidden: Size of the hidden layers.
        training: How.
    """

    #: How it is trained unless told otherwise.
    TRAINING = Training(epochs=50, schedule="cosine", average=0.5)

    def __init__(self, layout: Layout, *, hidden: int = 128, training: Training = TRAINING) -> None:
        self.layout, self.hidden, self.training = layout, hidden, training
        self._module: nn.Module | None = None
        self._scale = (0.0, 1.0)

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`."""
        labels = Labels.of(archs, score, self.layout)
        bits = features(labels.archs, self.layout)
        with scoped(rng):
            module = perceptron([bits.shape[1], self.hidden, self.hidden, 1])

        def loss(batch: Int[Tensor, " batch"], rng: torch.Generator) -> Float[Tensor, ""]:
            del rng
            return nn.functional.mse_loss(module(bits[batch])[:, 0], labels.target[batch])

        seed = int(torch.randint(2**62, (), generator=rng))
        for _ in Regression(module, loss, len(bits), self.training, seed=seed).run():
            pass
        self._module, self._scale = module, (labels.mean, labels.sd)

    @torch.no_grad()
    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`."""
        if self._module is None:
            raise not_fitted()
        mean, sd = self._scale
        out: Tensor = self._module(features(archs, self.layout))
        return mean + sd * out[:, 0]


def perceptron(sizes: list[int]) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for into, out in pairwise(sizes):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def not_fitted() -> ValueError:
    """Return the error of a predictor that has learnt nothing yet."""
    return ValueError("this predictor has learnt nothing yet: call fit first")
