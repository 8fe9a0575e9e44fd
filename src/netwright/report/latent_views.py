"""What a page about a latent space shows, as plain tensors, graphs and numbers."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.metrics import edit_distance


@dataclass(frozen=True, eq=False)
class Plane:
    """Latent means in their principal plane, and what a grid of that plane decodes to.

    Attributes:
        points: Coordinates of the latent mean of each architecture.
        score: Of each architecture; NaN where it is not known.
        score_name: What the score is, such as ``validation accuracy``.
        explained: Share of the variance along each of the two directions.
        half_width: The grid reaches from minus to plus this along both.
        cells: The decoded grid, row by row from the upper left; a square number of graphs.
        cell_score: Of each decoded graph; NaN where it is not known. None if of none.
    """

    points: Float[Tensor, "graph 2"]
    score: Float[Tensor, " scored"]
    score_name: str
    explained: tuple[float, float]
    half_width: float
    cells: ArchitectureBatch
    cell_score: Float[Tensor, " cell"] | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.score):
            raise ValueError(f"{len(self.points)} latent means but {len(self.score)} scores")
        if self.k < 2 or self.k**2 != len(self.cells):
            raise ValueError(f"{len(self.cells)} decoded graphs are no square grid")
        if self.cell_score is not None and len(self.cell_score) != len(self.cells):
            raise ValueError(f"{len(self.cells)} decoded graphs, {len(self.cell_score)} scores")
        if not 0 < self.half_width < math.inf:
            raise ValueError(f"the half width of a grid is positive, not {self.half_width}")

    @property
    def k(self) -> int:
        """Number of cells on a side of the grid."""
        return math.isqrt(len(self.cells))

    @property
    def cell_scores(self) -> Float[Tensor, " cell"]:
        """The score of each decoded graph; NaN where it is not known."""
        unknown = torch.full((len(self.cells),), torch.nan)
        return unknown if self.cell_score is None else self.cell_score

    def percentile(self, score: Float[Tensor, " any"]) -> Float[Tensor, " any"]:
        """Return which share of the known scores lies below each, ties half; NaN for NaN."""
        known = self.score[self.score.isfinite()].double().sort().values
        score = score.double()
        below, upto = (torch.searchsorted(known, score, right=right) for right in (False, True))
        return torch.where(score.isfinite(), (below + upto) / (2 * max(1, len(known))), torch.nan)

    def quantile(self, share: float) -> float:
        """Return the score below which that share of the known scores lies; NaN without any."""
        known = self.score[self.score.isfinite()].double().sort().values
        return float(known[round(share * (len(known) - 1))]) if len(known) else math.nan


@dataclass(frozen=True, eq=False)
class Lines:
    """Decoded walks between the encodings of pairs of architectures.

    Attributes:
        archs: The decoded graphs, walk after walk.
        steps: Number of graphs of each walk, both ends included.
        reference: Architectures drawn at random; how far each is from the next tells how far
            architectures are from each other that have nothing in common.
    """

    archs: ArchitectureBatch
    steps: int
    reference: ArchitectureBatch

    def __post_init__(self) -> None:
        if self.steps < 2 or not len(self.archs) or len(self.archs) % self.steps:
            raise ValueError(f"{len(self.archs)} graphs are no walks of {self.steps} steps")
        if len(self.reference) < 2:
            raise ValueError("the reference needs at least two architectures")

    @property
    def pairs(self) -> int:
        """Number of walks."""
        return len(self.archs) // self.steps

    def distances(self, other: int) -> Int[Tensor, "pair step"]:
        """Count the edits between each graph and that at step ``other`` of the same walk."""
        place = torch.arange(len(self.archs))
        end = place - place % self.steps + range(self.steps)[other]
        return edit_distance(self.archs, self.archs[end]).view(self.pairs, self.steps)

    def neighbours(self) -> Int[Tensor, "pair step"]:
        """Count the edits from each graph but the last to the next of the same walk."""
        following = self.archs[(torch.arange(len(self.archs)) + 1) % len(self.archs)]
        return edit_distance(self.archs, following).view(self.pairs, self.steps)[:, :-1]

    def random(self) -> Int[Tensor, " pair"]:
        """Count the edits between random architectures."""
        return edit_distance(self.reference[:-1], self.reference[1:])


@dataclass(frozen=True)
class Metric:
    """A number of a table.

    Attributes:
        name: What was measured, with its unit.
        value: What came out.
        paper: What was published, if anything.
    """

    name: str
    value: float
    paper: float | None = None


@dataclass(frozen=True, eq=False)
class LatentPage:
    """All that a page about a latent space shows; what is None or empty is left out.

    Attributes:
        method: The generator, as people call it.
        data: What it was trained on, in words.
        latent_size: Number of latent coordinates.
        parameters: Number of trained parameters.
        graphs: Number of graphs seen in training, repeats counted.
        epochs: Passes over the data.
        seconds: That training took.
        history: What was measured during training: ``graphs`` (seen until then) and any numbers
            by name, nested or not. ``train`` and ``valid`` are drawn together, and so are, say,
            ``train/kl`` and ``valid/kl``.
        plane: [SVGe] Fig. 3 left.
        circle: Graphs decoded around a circle from the first, in order ([SVGe] Fig. 2).
        lines: Decoded walks between encodings.
        metrics: Rows of a table.
    """

    method: str
    data: str
    latent_size: int
    parameters: int
    graphs: int
    epochs: int | float
    seconds: float
    history: Sequence[Mapping[str, Any]] = ()
    plane: Plane | None = None
    circle: ArchitectureBatch | None = None
    lines: Lines | None = None
    metrics: Sequence[Metric] = ()

    def __post_init__(self) -> None:
        for i, row in enumerate(self.history):
            if not isinstance(row.get("graphs"), int | float):
                raise ValueError(f"row {i} of the history does not say how many graphs were seen")

    def curves(self) -> dict[str, dict[str, list[tuple[float, float]]]]:
        """Return the history as charts by name, each of lines by name: (graphs seen, value)."""
        charts: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for row in self.history:
            for key, value in _numbers(row):
                if key in {"graphs", "epoch", "epochs", "seconds"}:
                    continue
                split = re.fullmatch(r"(train|valid)(?:[/._ ](.+))?", key)
                chart, line = (split[2] or "loss", split[1]) if split else (key, key)
                found = charts.setdefault(chart, {}).setdefault(line, [])
                found.append((float(row["graphs"]), value))
        return charts


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """List the finite numbers of nested values by their names."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)
