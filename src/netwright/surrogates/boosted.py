"""An ensemble of gradient-boosted trees that says how far a measurement may be from its prediction.

As in [NAS-Bench-301], the members of the ensemble are fitted on different folds of the labels.
Here the residuals of rows that a member did not see become the distribution of a measurement:

1. Scores are replaced by their normal scores, z = Phi^-1((rank - 1/2) / labels): accuracies crowd
   near the best ones, and squared error on z counts order there as much as anywhere else.
2. For each of some shuffles, members are fitted on all folds but one. The residual e of a label is
   its z less the mean of the members that did not see it.
3. A measurement of a graph whose members predict z on average is Q(z + e), where e is any of the
   residuals of labels with a z nearby (bad graphs are harder to predict than good ones) and Q
   undoes step 1. Its mean is the prediction (the smearing estimate of [Duan1983]), its deviation
   the noise, its quantiles the limits of an interval, as wide as the residuals of unseen labels
   ask for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

#: Fewest labels to fit on: each fold should have a few.
FEWEST: Final = 20
_LEVELS: Final = 200  # residuals, equally many labels apart, that stand for all of them
_WINDOW: Final = 50  # fewest labels whose residuals are looked at together
_WINDOWS: Final = 40  # most such windows, along z
_GRID: Final = 1024  # values of z between which all is interpolated
_CHUNK: Final = 1024  # graphs predicted at a time: they stay in the cache for all trees


@dataclass(frozen=True, eq=False)
class Prediction:
    """What an ensemble says of graphs, in the units of the scores.

    Attributes:
        mean: Of the distribution of a measurement.
        sd: Its standard deviation: noise of the measurement and error of the prediction.
        low: Its 2.5 % quantile.
        high: Its 97.5 % quantile.
        spread: Standard deviation between the members' own predictions.
        z: What the members predict on average.
    """

    mean: Float[Tensor, " batch"]
    sd: Float[Tensor, " batch"]
    low: Float[Tensor, " batch"]
    high: Float[Tensor, " batch"]
    spread: Float[Tensor, " batch"]
    z: Float[Tensor, " batch"]

    @classmethod
    def cat(cls, parts: Sequence["Prediction"]) -> "Prediction":
        """Concatenate."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@final
class BoostedEnsemble:
    """Boosted trees (scikit-learn's histogram-based ones) on numbers that describe graphs.

    Args:
        folds: The labels are cut into so many; a member sees all of them but one.
        shuffles: How often they are cut; there are ``folds * shuffles`` members.
        trees: Of each member.
        learning_rate: Of the boosting.
        leaf: Fewest labels in a leaf.
        penalty: On the squared values of the leaves.

    Attributes:
        unseen: Of each label, what the members that did not see it predict; its spread, between
            as many members as there are shuffles.
    """

    unseen: Prediction

    def __init__(
        self,
        *,
        folds: int = 5,
        shuffles: int = 1,
        trees: int = 200,
        learning_rate: float = 0.1,
        leaf: int = 10,
        penalty: float = 1.0,
    ) -> None:
        if folds < 2 or shuffles < 1:
            raise ValueError(f"an ensemble needs 2 folds and 1 shuffle: {folds=}, {shuffles=}")
        self.folds, self.shuffles = folds, shuffles
        self._settings = {
            "max_iter": trees,
            "learning_rate": learning_rate,
            "min_samples_leaf": leaf,
            "l2_regularization": penalty,
            "early_stopping": False,
        }
        self._members: list[Any] = []

    def fit(
        self,
        x: Float[Tensor, "label feature"],
        score: Float[Tensor, " label"],
        *,
        rng: torch.Generator,
    ) -> None:
        """Learn from scores, and forget what was learnt before.

        Raises:
            ValueError: If there are fewer than `FEWEST` scores, or one is not finite.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor  # slow to import

        if len(score) < FEWEST:
            raise ValueError(f"{len(score)} scores are too few to fit on: give at least {FEWEST}")
        if not bool(score.isfinite().all()):
            raise ValueError("a score is not finite: leave it out")
        z = self._normalise(score.double().numpy())
        self._varies = (x != x[0]).any(dim=0)
        found = self._columns(x)
        self._members, unseen = [], np.zeros((self.shuffles, len(z)))
        for shuffle in range(self.shuffles):
            for part in torch.randperm(len(z), generator=rng).tensor_split(self.folds):
                seen = np.ones(len(z), dtype=bool)
                seen[part.numpy()] = False
                member = HistGradientBoostingRegressor(**self._settings)
                member.fit(found[seen], z[seen])
                unseen[shuffle, ~seen] = member.predict(found[~seen])
                self._members.append(member)
        middle = unseen.mean(axis=0)
        self._tabulate(middle, z - middle)
        self.unseen = self._prediction(unseen)

    def predict(self, x: Float[Tensor, "batch feature"]) -> Prediction:
        """Predict the scores of other graphs.

        Raises:
            ValueError: If nothing was learnt yet.
        """
        if not self._members:
            raise ValueError("this ensemble has learnt nothing yet: call fit first")
        found = self._columns(x)
        each = np.zeros((len(self._members), len(found)))
        for start in range(0, len(found), _CHUNK):
            some = slice(start, start + _CHUNK)
            for values, member in zip(each, self._members, strict=True):
                values[some] = member.predict(found[some])
        return self._prediction(each)

    def draw(self, found: Prediction, *, rng: torch.Generator) -> Float[Tensor, " batch"]:
        """Draw a measurement of each graph: Q(z + e) with a residual e."""
        level = torch.randint(_LEVELS, found.z.shape, generator=rng).numpy()
        between = (self._centres[1:] + self._centres[:-1]) / 2
        residual = self._residuals[np.searchsorted(between, found.z.numpy()), level]
        return torch.from_numpy(self._denormalise(found.z.numpy() + residual))

    def _columns(self, x: Float[Tensor, "batch feature"]) -> NDArray[np.float32]:
        """The features that differ between labels."""
        return x[:, self._varies].numpy()

    def _normalise(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Replace scores by their normal scores, equal ones by that of their mean rank."""
        from scipy.special import ndtri

        self._scores, place, count = np.unique(score, return_inverse=True, return_counts=True)
        rank = count.cumsum() - 0.5 * (count - 1)
        self._normal = ndtri((rank - 0.5) / len(score))
        return np.asarray(self._normal[place], dtype=np.float64)

    def _denormalise(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `_normalise`, piecewise linear between the scores, and never beyond them."""
        return np.interp(z, self._normal, self._scores)

    def _tabulate(self, middle: NDArray[np.float64], residual: NDArray[np.float64]) -> None:
        """Tabulate mean, deviation and limits of Q(z + e) over z.

        The quantiles of the residuals are those of windows of labels in the order of their
        predictions, and in between are interpolated. A mean that would fall is held.
        """
        count = min(_WINDOWS, max(1, 2 * len(residual) // _WINDOW - 1))
        size = 2 * len(residual) // (count + 1)  # each label in two windows, half of each shared
        order = middle.argsort(kind="stable")
        windows = [order[i * size // 2 : i * size // 2 + size] for i in range(count)]
        levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
        asked = np.concatenate([levels, (0.025, 0.975)])
        found = np.stack([np.quantile(residual[window], asked) for window in windows])
        self._centres = np.array([middle[window].mean() for window in windows])
        self._residuals = found[:, :_LEVELS]
        self._grid = np.linspace(middle.min() - 1, middle.max() + 1, _GRID)
        around = np.stack([np.interp(self._grid, self._centres, column) for column in found.T])
        values = self._denormalise(self._grid + around)
        self._mean = np.maximum.accumulate(values[:_LEVELS].mean(axis=0))
        self._sd = values[:_LEVELS].std(axis=0)
        self._low, self._high = values[_LEVELS:]

    def _prediction(self, each: NDArray[np.float64]) -> Prediction:
        """What members that predict ``each`` (member x graph) say together."""
        z = each.mean(axis=0)
        tables = (self._mean, self._sd, self._low, self._high)
        spread = self._at(each, self._mean).std(axis=0)
        values = (*(self._at(z, table) for table in tables), spread, z)
        return Prediction(*map(torch.from_numpy, values))

    def _at(self, z: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(z, self._grid, table)
