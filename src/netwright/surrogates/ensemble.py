"""An ensemble of multilayer perceptrons: the predictor of BANANAS [White2019].

All members, and all ensembles that are fitted together, are one stacked model: a matrix product
of small matrices for each layer. A step is bound by the number of operations started (about 75,
whatever the number of members), so gradients are written out by hand and Adam has one tensor.

Deviation from the released code: each member's random numbers are torch's; initial weights
(Glorot's), Adam's constants and the order of operations are those of Keras.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam

from netwright.generators.base import insist_complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.encodings import adjacency_encoding, path_encoding
from netwright.graphs.layout import Layout
from netwright.surrogates.predictors import Labels, not_fitted

_PUBLISHED, _MOST = 40, 400  # bits of the path encoding


@dataclass(frozen=True)
class EnsembleOptions:
    """What an ensemble is, and how it is trained; the defaults are the released code's.

    Attributes:
        members: How many perceptrons.
        layers: Hidden layers of each.
        width: Their size.
        epochs: Passes over the labels.
        batch_size: Labels per step, the last step of an epoch taking what is left.
        learning_rate: Of Adam.
        encoding: What they see of a graph: "path" or "adjacency".
        paths: Bits of the path encoding, the shortest paths. If None, the published 40 where an
            edge is free, and all, at most 400, where only operations differ.
        target: "percent" learns errors in percent, as released, the scores being accuracies;
            "standardised" learns scores of mean 0 and deviation 1, whatever they are.

    Raises:
        ValueError: If a number is out of its range.
    """

    members: int = 5
    layers: int = 10
    width: int = 20
    epochs: int = 150
    batch_size: int = 32
    learning_rate: float = 0.01
    encoding: Literal["path", "adjacency"] = "path"
    paths: int | None = None
    target: Literal["percent", "standardised"] = "percent"

    def __post_init__(self) -> None:
        for name in ("members", "layers", "width", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.paths is not None and self.paths < 1:
            raise ValueError(f"paths must be at least 1, not {self.paths}")


@final
class Ensemble:
    """Perceptrons that differ in their initial weights and in the order they see labels in.

    Args:
        layout: Of the architectures.
        options: What it is, and how it is trained.
    """

    def __init__(self, layout: Layout, options: EnsembleOptions | None = None) -> None:
        self.layout = layout
        self.options = EnsembleOptions() if options is None else options
        self._layers: list[tuple[Tensor, Tensor]] = []  # weights and biases of all members
        self._scale = (0.0, 1.0)  # score = first + second * output

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`.

        Raises:
            ValueError: As there.
            FloatingPointError: If training diverged.
        """
        fit_together([Lesson(self, archs, score, rng)])

    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`: the mean over the members."""
        return self.mean_and_sd(archs)[0]

    @torch.no_grad()
    def mean_and_sd(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Return mean and standard deviation of the members' predictions, in units of the scores.

        Raises:
            ValueError: As `Predictor.predict`.
        """
        if not self._layers:
            raise not_fitted()
        x = self.encode(archs).T.expand(self.options.members, -1, -1)
        for weight, bias in self._layers[:-1]:
            x = torch.baddbmm(bias, weight, x).relu_()
        weight, bias = self._layers[-1]
        first, second = self._scale
        each = first + second * torch.baddbmm(bias, weight, x)[:, 0].double()
        mean = each.mean(dim=0)
        return mean.float(), (each - mean).square().mean(dim=0).sqrt().float()

    def encode(self, archs: ArchitectureBatch) -> Float[Tensor, "batch bit"]:
        """Return what the members see of architectures.

        Raises:
            ValueError: If one is not a complete graph of the layout.
        """
        layout, bits = self.layout, self.options.paths
        archs = insist_complete(archs, layout)
        if self.options.encoding == "adjacency":
            return adjacency_encoding(archs, layout.num_ops).float()
        inner = layout.allowed_ops[1:-1].any(dim=0).nonzero()[:, 0].tolist()
        if bits is None:
            bits = _PUBLISHED if bool(layout.free.any()) else _MOST
        ops = [op for op in inner if op != layout.end_op]
        return path_encoding(archs, ops, truncate=bits).float()

    def _learn(self, labels: Labels) -> Float[Tensor, " label"]:
        """Return what the outputs are to be, and note how they become scores again."""
        percent = self.options.target == "percent"
        self._scale = (1.0, -0.01) if percent else (labels.mean, labels.sd)
        first, second = self._scale
        return (labels.mean - first) / second + labels.sd / second * labels.target


@dataclass(frozen=True, eq=False)
class Lesson:
    """What an ensemble is to learn from; see `Predictor.fit` of it.

    Attributes:
        ensemble: Who learns.
        archs: The architectures.
        score: Theirs.
        rng: Draws initial weights and orders.
    """

    ensemble: Ensemble
    archs: ArchitectureBatch
    score: Float[Tensor, " batch"]
    rng: torch.Generator


@torch.no_grad()
def fit_together(lessons: Sequence[Lesson]) -> None:
    """Fit ensembles, those of equal options with equally many known scores as one stacked model.

    The result is that of fitting one by one, up to rounding.

    Raises:
        ValueError: As `Predictor.fit`.
        FloatingPointError: If training diverged.
    """
    stacks: dict[Any, list[_Data]] = {}
    for lesson in lessons:
        ensemble = lesson.ensemble
        labels = Labels.of(lesson.archs, lesson.score, ensemble.layout)
        bits = ensemble.encode(labels.archs)
        data = _Data(ensemble, bits, ensemble._learn(labels), lesson.rng)
        stacks.setdefault((ensemble.options, bits.shape), []).append(data)
    for (options, _), stack in stacks.items():
        layers = _trained(stack, options)
        for i, data in enumerate(stack):
            mine = slice(i * options.members, (i + 1) * options.members)
            data.ensemble._layers = [(w[mine].clone(), b[mine].clone()) for w, b in layers]


@dataclass(frozen=True, eq=False)
class _Data:
    ensemble: Ensemble
    bits: Float[Tensor, "label bit"]
    target: Float[Tensor, " label"]
    rng: torch.Generator


def _trained(stack: Sequence[_Data], options: EnsembleOptions) -> list[tuple[Tensor, Tensor]]:
    """Train all members of ensembles; return weights and biases, ensemble by ensemble."""
    count, size = stack[0].bits.shape
    replicas = len(stack) * options.members
    sizes = [size, *[options.width] * options.layers, 1]
    model = _Stack(replicas, sizes)
    orders = []
    for i, data in enumerate(stack):
        mine = slice(i * options.members, (i + 1) * options.members)
        for (weight, _), (into, out) in zip(model.layers, pairwise(sizes), strict=True):
            limit = math.sqrt(6 / (into + out))  # Glorot's uniform distribution; biases are 0
            weight[mine].uniform_(-limit, limit, generator=data.rng)
        shape = (options.epochs, options.members, count)
        orders.append(torch.rand(shape, generator=data.rng).argsort(dim=2) + i * count)
    bits = torch.cat([data.bits for data in stack])
    target = torch.cat([data.target for data in stack])
    first, second = torch.zeros_like(model.row), torch.zeros_like(model.row)
    steps = torch.zeros(())
    for order in torch.cat(orders, dim=1):
        x = bits[order.flatten()].view(replicas, count, size)
        y = target[order][:, None]
        for some in zip(
            x.split(options.batch_size, dim=1), y.split(options.batch_size, dim=2), strict=True
        ):
            model.differentiate(*some)
            adam(
                [model.row],
                [model.gradient],
                [first],
                [second],
                [],
                [steps],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.99,
                lr=options.learning_rate,
                weight_decay=0.0,
                eps=1e-7,
                maximize=False,
            )
    if not bool(model.row.isfinite().all()):
        raise FloatingPointError("training the ensemble diverged: lower its learning_rate")
    return model.layers


class _Stack:
    """Perceptrons side by side, and the gradients of their mean absolute errors.

    Attributes:
        row: All parameters.
        gradient: Of each perceptron's error by its parameters.
        layers: Views of the parameters: weights ``[replica, out, in]``, biases
            ``[replica, out, 1]``.
    """

    def __init__(self, replicas: int, sizes: Sequence[int]) -> None:
        shapes = [
            (replicas, out, columns) for into, out in pairwise(sizes) for columns in (into, 1)
        ]
        lengths = [math.prod(shape) for shape in shapes]
        self.row = torch.zeros(sum(lengths))
        self.gradient = torch.zeros(sum(lengths))

        def layers(row: Tensor) -> list[tuple[Tensor, Tensor]]:
            parts = row.split(lengths)
            views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
            return list(zip(views[::2], views[1::2], strict=True))

        self.layers, self._gradients = layers(self.row), layers(self.gradient)
        self._turned = [weight.mT for weight, _ in self.layers]
        self._sizes = sizes
        self._room: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    def differentiate(
        self, x: Float[Tensor, "replica row bit"], y: Float[Tensor, "replica 1 row"]
    ) -> None:
        """Write the gradients of the mean absolute errors of these rows."""
        replicas, rows = x.shape[:2]
        if rows not in self._room:
            shapes = [(replicas, size, rows) for size in self._sizes[1:]]
            self._room[rows] = ([torch.empty(s) for s in shapes], [torch.empty(s) for s in shapes])
        outputs, slopes = self._room[rows]
        into = x.mT
        for (weight, bias), out in zip(self.layers, outputs, strict=True):
            torch.baddbmm(bias, weight, into, out=out)
            into = out if out is outputs[-1] else out.relu_()
        torch.sub(outputs[-1], y, out=slopes[-1]).sign_().mul_(1 / rows)
        for i in range(len(slopes) - 1, -1, -1):
            slope, (weight, bias) = slopes[i], self._gradients[i]
            torch.bmm(slope, outputs[i - 1].mT if i else x, out=weight)
            torch.sum(slope, dim=2, keepdim=True, out=bias)
            if i:
                before = torch.bmm(self._turned[i], slope, out=slopes[i - 1])
                torch.ops.aten.threshold_backward.grad_input(
                    before, outputs[i - 1], 0, grad_input=before
                )
