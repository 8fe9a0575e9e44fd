"""Train a generator on a set of graphs: one trainer for every generator that has a loss.

A fit is a sequence of steps, each a function of the state before it: the order of the graphs in an
epoch and the noise of a step come from random streams named after the epoch and the step. So a fit
that is interrupted after any step and goes on from its `Fit.state_dict` ends with the same
parameters, bit by bit, as one that was not (on the same kind of machine, with as many threads).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from netwright.generators.base import Generator, HasLatent, HasLogProb, HasLoss
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream

#: Validation graphs a loss is computed of at a time.
_CHUNK = 512

Loss = Callable[[ArchitectureBatch, torch.Generator], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        graphs: Graphs to be seen in all, repeats counted; an epoch is the size of the data.
        batch_size: Graphs per step.
        learning_rate: Of Adam, at the start or after the warm-up.
        schedule: "plateau" multiplies the learning rate by ``factor`` when the training loss has
            not fallen for more than ``patience`` periods, as [SVGe] and [Zhang2019] do; "cosine"
            lets it fall to 0 along a half wave; "constant".
        factor: Of the plateau schedule.
        patience: Of the plateau schedule.
        warmup: Graphs over which the learning rate rises from 0.
        clip: Largest norm of the gradient; None for no limit.
        period: Graphs between two records; an epoch if None.
        valid_graphs: Validation graphs looked at for a record, the first ones.
        stop_after: Ends the fit after so many periods without a lower validation loss; None for
            never.
        precision: "float32"; "tf32" for matrix products on a GPU; or "bf16", for matrix products
            where that is safe (automatic mixed precision), which pays on a GPU.
        compile: Whether to compile the loss (`torch.compile`).
    """

    graphs: int
    batch_size: int = 32
    learning_rate: float = 1e-4
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    factor: float = 0.1
    patience: int = 10
    warmup: int = 0
    clip: float | None = None
    period: int | None = None
    valid_graphs: int = 2000
    stop_after: int | None = None
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    compile: bool = False


@dataclass(frozen=True)
class Record:
    """What a period of training came to.

    Attributes:
        graphs: Graphs seen since the beginning.
        train: Mean training loss of the period.
        valid: Mean loss on validation graphs; None without any.
        reconstruction: Share of validation graphs that decoding the mean of their posterior gives
            back, to the letter; None without validation graphs or a latent space.
        learning_rate: At the end of the period.
        seconds: Spent on steps since the beginning.
    """

    graphs: int
    train: float
    valid: float | None
    reconstruction: float | None
    learning_rate: float
    seconds: float


class Fit:
    """Trains a generator; see `Recipe`.

    Args:
        generator: What to train; `train()` mode is set during steps only.
        train: The graphs to learn.
        valid: Held-out graphs, for the records.
        recipe: How.
        seed: Of the order of graphs and of all noise.

    Attributes:
        history: The records so far.
        graphs: Graphs seen so far.

    Raises:
        ValueError: If there are no graphs, or the generator has no loss.
    """

    def __init__(
        self,
        generator: Generator,
        train: ArchitectureBatch,
        valid: ArchitectureBatch,
        recipe: Recipe,
        *,
        seed: int,
    ) -> None:
        if not len(train):
            raise ValueError("there are no graphs to learn")
        self.generator, self.recipe, self.seed = generator, recipe, seed
        self.device = next(generator.parameters()).device
        self.train = train.to(self.device)
        self.valid = valid[: recipe.valid_graphs].to(self.device)
        self.history: list[Record] = []
        self.graphs = self.steps = 0
        self.rate = recipe.learning_rate  # what the plateau schedule made of it
        self._loss = torch.compile(loss_of(generator)) if recipe.compile else loss_of(generator)
        self._optimiser = torch.optim.Adam(
            generator.parameters(), lr=recipe.learning_rate, fused=True
        )
        self._sum, self._count, self._seconds = 0.0, 0, 0.0
        self._order: tuple[int, Tensor] | None = None

    @property
    def finished(self) -> bool:
        """Whether all graphs have been seen, or the validation loss has stopped to fall."""
        losses = [record.valid for record in self.history]
        return self.graphs >= self.recipe.graphs or _stalled(losses, self.recipe.stop_after)

    def finished_in(self, state: dict[str, Any]) -> bool:
        """Tell whether nothing is left to do after a `state_dict`."""
        known = [record["valid"] for record in state["history"]]
        seen: int = state["counters"][0]
        return seen >= self.recipe.graphs or _stalled(known, self.recipe.stop_after)

    def run(self) -> Iterator[Record | None]:
        """Train, yielding after every step: a record at the end of a period, else None.

        Raises:
            RuntimeError: If the loss or its gradient is not finite; parameters are those before
                the step.
        """
        while not self.finished:
            start = time.monotonic()
            self.generator.train()
            try:
                with _precision(self.recipe.precision):
                    self._step()
            finally:
                self.generator.eval()
            self._seconds += time.monotonic() - start
            yield self._recorded() if self._period_ends() else None

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes: a tree of tensors, which are those in use, and JSON values."""
        return {
            "generator": dict(self.generator.state_dict()),
            "optimiser": {
                str(i): dict(state) for i, state in self._optimiser.state_dict()["state"].items()
            },
            "history": [asdict(record) for record in self.history],
            "counters": [self.graphs, self.steps, self._count],
            "size": len(self.train),
            "sums": [self._sum, self._seconds, self.rate],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: If it is that of another generator or other data.
        """
        if state["size"] != len(self.train):
            raise ValueError(
                f"that fit had {state['size']} training graphs, now there are {len(self.train)}: "
                "were its data changed?"
            )
        load_parameters(self.generator, state["generator"])
        groups = self._optimiser.state_dict()["param_groups"]
        moments = {  # copies: two fits may go on from one state
            int(i): {name: value.clone() for name, value in found.items()}
            for i, found in state["optimiser"].items()
        }
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.history = [Record(**record) for record in state["history"]]
        self.graphs, self.steps, self._count = state["counters"]
        self._sum, self._seconds, self.rate = state["sums"]

    def _step(self) -> None:
        """Take one step of Adam."""
        recipe, size = self.recipe, len(self.train)
        epoch, place = divmod(self.graphs, size)
        if self._order is None or self._order[0] != epoch:
            rng = stream(self.seed, f"fit/epoch/{epoch}")
            self._order = epoch, torch.randperm(size, generator=rng)
        batch = self._order[1][place : place + recipe.batch_size].to(self.device)
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate(self.graphs + len(batch))
        self._optimiser.zero_grad()
        rng, mixed = stream(self.seed, f"fit/step/{self.steps}"), recipe.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            loss = self._loss(self.train[batch], rng)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RuntimeError(
                f"the loss is {value} after {self.graphs} graphs: try a smaller learning rate"
            )
        loss.backward()
        limit = math.inf if recipe.clip is None else recipe.clip
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), limit)
        if not bool(norm.isfinite()):
            raise RuntimeError(
                f"the gradient is not finite after {self.graphs} graphs: lower the learning rate"
            )
        self._optimiser.step()
        self.graphs += len(batch)
        self.steps += 1
        self._sum += value * len(batch)
        self._count += len(batch)

    def _learning_rate(self, seen: int) -> float:
        """Return the learning rate of the step after which ``seen`` graphs have been seen."""
        recipe = self.recipe
        if seen <= recipe.warmup:
            return self.rate * seen / recipe.warmup
        if recipe.schedule == "cosine":
            done = (seen - recipe.warmup) / max(recipe.graphs - recipe.warmup, 1)
            return self.rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return self.rate

    def _period_ends(self) -> bool:
        """Whether a record is due; the last period may be shorter."""
        return self.finished or self._count >= (self.recipe.period or len(self.train))

    def _recorded(self) -> Record:
        """End a period."""
        recipe = self.recipe
        record = Record(
            self.graphs,
            self._sum / self._count,
            self._validation_loss(),
            self._reconstruction(),
            self._learning_rate(self.graphs),
            self._seconds,
        )
        self.history.append(record)
        self._sum, self._count = 0.0, 0
        if recipe.schedule == "plateau":
            losses = [found.train for found in self.history]
            # As torch's ReduceLROnPlateau, which counts anew after each reduction.
            if _plateaus(losses, recipe.patience) > _plateaus(losses[:-1], recipe.patience):
                self.rate *= recipe.factor
        return record

    @torch.no_grad()
    def _validation_loss(self) -> float | None:
        if not len(self.valid):
            return None
        total, rng = 0.0, stream(self.seed, "fit/valid")
        for start in range(0, len(self.valid), _CHUNK):
            some = self.valid[start : start + _CHUNK]
            total += float(self._loss(some, rng)) * len(some)
        return total / len(self.valid)

    @torch.no_grad()
    def _reconstruction(self) -> float | None:
        if not len(self.valid) or not isinstance(self.generator, HasLatent):
            return None
        rng, right = stream(self.seed, "fit/reconstruction"), 0
        for start in range(0, len(self.valid), _CHUNK):
            some = self.valid[start : start + _CHUNK]
            again = self.generator.decode(self.generator.encode(some)[0], rng=rng)
            right += int(some.equal(again).sum())
        return right / len(self.valid)


def loss_of(generator: Generator) -> Loss:
    """Return what a fit of a generator minimises: its loss, or the mean of ``-log_prob``.

    Raises:
        ValueError: If it has neither.
    """
    if isinstance(generator, HasLoss):
        return lambda archs, rng: generator.loss(archs, rng=rng)
    if isinstance(generator, HasLogProb):
        return lambda archs, _: -generator.log_prob(archs).mean()
    raise ValueError(f"{type(generator).__name__} has no loss to fit")


def load_parameters(generator: Generator, state: dict[str, Tensor]) -> None:
    """Give a generator the parameters of another of its kind and sizes.

    Raises:
        ValueError: If they do not fit, with the first that does not.
    """
    mine = generator.state_dict()
    if missing := sorted(mine.keys() ^ state.keys()):
        raise ValueError(f"the parameters are those of another generator: {missing[0]} differs")
    for name, value in mine.items():
        if value.shape != state[name].shape:
            raise ValueError(
                f"the parameters are those of a generator of other sizes or operations: {name} "
                f"has shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
            )
    generator.load_state_dict(state)


def _stalled(losses: Sequence[float | None], patience: int | None) -> bool:
    """Tell whether the last ``patience`` losses are no lower than the lowest before."""
    known = [loss for loss in losses if loss is not None]
    if patience is None or len(known) <= patience:
        return False
    return min(known[-patience:]) >= min(known[:-patience])


def _plateaus(losses: list[float], patience: int) -> int:
    """Count how often the loss has not fallen for more than ``patience`` records in a row."""
    best, bad, count = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            count, bad = count + 1, 0
    return count


@contextmanager
def _precision(precision: str) -> Iterator[None]:
    """Set the precision of matrix products of single-precision numbers, and restore it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
