r"""Train GNN2GNN and its peers on architectures and their scores ([GNN2GNN] sections 3.2 and 4.2).

A fit is a sequence of steps like that of `netwright.generators.fit`: an interrupted one goes on
and ends with the same parameters, bit by bit. Several fits of alike generators train as one stacked
model, each with its own data, seed and $\lambda$, and come to what each would alone (up to
rounding): small models are bound by the number of operations started.

During the first part of a fit, ``warmup``, $\lambda = 1$: the valuer learns before it is heeded.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.generators.base import Generator
from netwright.generators.labelled import Labelled
from netwright.generators.relaxed import Relaxed, replica
from netwright.generators.three_way import Losses, ThreeWay, ThreeWayOptions
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream


@dataclass(frozen=True)
class AdversarialRecipe:
    r"""How long, and with what balance.

    Attributes:
        graphs: Graphs of the data to be seen in all, repeats counted.
        batch_size: Graphs of the data per step, and as many generated ones.
        balance: $\lambda$, the discriminator's weight in the generator's loss.
        warmup: Share of the fit during which $\lambda = 1$.
        strong: Share of the training cells that the valuer calls strong, the best ones.
        schedule: "constant", or "cosine": learning rates fall to 0 along a half wave.
        period: Graphs between two records.
        three_way: How a step trains.
    """

    graphs: int
    batch_size: int = 32
    balance: float = 0.1
    warmup: float = 0.5
    strong: float = 0.5
    schedule: Literal["constant", "cosine"] = "constant"
    period: int = 16_000
    three_way: ThreeWayOptions = field(default_factory=ThreeWayOptions)

    def __post_init__(self) -> None:
        for name in ("graphs", "batch_size", "period"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("balance", "warmup"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be within 0 and 1, not {getattr(self, name)}")
        if not 0 < self.strong < 1:
            raise ValueError(f"strong must be between 0 and 1, not {self.strong}")


@dataclass(frozen=True)
class AdversarialRecord:
    r"""What a period of training came to, on average over its steps.

    Attributes:
        graphs: Graphs of the data seen since the beginning.
        generator: Loss of the generator (eq. 2).
        discriminator: Loss of the discriminator; $2 \log 2 = 1.39$ where it tells nothing.
        valuer: Loss of the valuer.
        told_apart: Share of graphs, of the data and generated, that the discriminator is right
            about; 0.5 where it tells nothing.
        balance: $\lambda$ at the end of the period.
        learning_rate: Of the generator, at the end of the period.
        seconds: Spent on steps since the beginning.
    """

    graphs: int
    generator: float
    discriminator: float
    valuer: float
    told_apart: float
    balance: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Trainee:
    r"""One replica of a fit.

    Attributes:
        generator: Untrained.
        data: What it learns from, labels included.
        seed: Of critics, order and noise.
        balance: $\lambda$, if not the recipe's.
    """

    generator: Generator
    data: Labelled
    seed: int
    balance: float | None = None


class AdversarialFit:
    """Trains generators, each with a discriminator and a valuer; see `AdversarialRecipe`.

    Args:
        trainees: What to train; their generators must be alike but for their parameters and tau.
            The first one's then holds the parameters of all of them.
        recipe: How.

    Attributes:
        model: Generator, discriminator and valuer, with an axis for the replicas.
        histories: The records of each replica so far.
        graphs: Graphs of the data seen so far by each.

    Raises:
        ValueError: If there are fewer training cells than a batch has.
    """

    def __init__(self, trainees: Sequence[Trainee], recipe: AdversarialRecipe) -> None:
        fewest = min(len(trainee.data) for trainee in trainees)
        if fewest < recipe.batch_size:
            raise ValueError(
                f"{fewest} training cells are fewer than a batch of {recipe.batch_size}: hold less "
                "out, or set a smaller batch_size"
            )
        self.recipe, self.seeds = recipe, [trainee.seed for trainee in trainees]
        self.data = [trainee.data for trainee in trainees]
        self.graphs = self.steps = 0
        self.histories: list[list[AdversarialRecord]] = [[] for _ in trainees]
        self.model = ThreeWay.together(
            [
                ThreeWay(t.generator, recipe.three_way, rng=stream(t.seed, "fit/critics"))
                for t in trainees
            ]
        )
        self.device = next(trainees[0].generator.parameters()).device
        given = [recipe.balance if t.balance is None else t.balance for t in trainees]
        self._balance = torch.tensor(given, device=self.device)
        self._archs = [data.archs.to(self.device) for data in self.data]
        self._targets = [self._target(data.scores).to(self.device) for data in self.data]
        best = [float(data.scores.max()) for data in self.data]
        self._goal = torch.tensor(best, device=self.device)
        self._orders: list[tuple[int, Tensor]] = [(-1, torch.empty(0)) for _ in trainees]
        self._sums = torch.zeros(4, len(trainees), device=self.device)
        self._count, self._seconds = 0, 0.0

    @property
    def train(self) -> ArchitectureBatch:
        """The training cells of the first replica."""
        return self.data[0].archs

    @property
    def history(self) -> list[AdversarialRecord]:
        """The records of the first replica."""
        return self.histories[0]

    @property
    def finished(self) -> bool:
        """Whether all graphs have been seen."""
        return self.graphs >= self.recipe.graphs

    def finished_in(self, state: dict[str, Any]) -> bool:
        """Tell whether nothing is left to do after a `state_dict`."""
        seen: int = state["counters"][0]
        return seen >= self.recipe.graphs

    def run(self) -> Iterator[AdversarialRecord | None]:
        """Train, yielding after every step: the first replica's record at a period's end, or None.

        Raises:
            RuntimeError: If a loss is not finite, with the seed of its replica.
        """
        while not self.finished:
            start = time.monotonic()
            self._add(self._step())
            self._seconds += time.monotonic() - start
            yield self._recorded() if self._period_ends() else None

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes: a tree of tensors, which are those in use, and JSON values."""
        state = self.model.state_dict()
        return {
            **state,
            "history": [[asdict(record) for record in history] for history in self.histories],
            "counters": [self.graphs, self.steps, self._count],
            "sizes": [len(data) for data in self.data],
            "sums": self._sums.clone(),
            "seconds": self._seconds,
        }

    def state_of(self, index: int) -> dict[str, Any]:
        """Return the state of one replica, as that of a fit of its own."""
        state = self.state_dict()
        networks = {name: replica(state[name], index) for name in self.model.networks}
        moments = {
            name: {i: replica(found, index) for i, found in state[name].items()}
            for name in ("critics", "of_generator")
        }
        return {
            **state,
            **networks,
            **moments,
            "history": [state["history"][index]],
            "sizes": [state["sizes"][index]],
            "sums": state["sums"][:, index : index + 1].clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: If it is that of another generator or other data.
        """
        sizes = [len(data) for data in self.data]
        if state["sizes"] != sizes:
            raise ValueError(
                f"that fit had {state['sizes']} training cells, now there are {sizes}: was its "
                "data changed?"
            )
        self.model.load_state_dict(state)
        self.histories = [
            [AdversarialRecord(**record) for record in history] for history in state["history"]
        ]
        self.graphs, self.steps, self._count = state["counters"]
        self._sums = state["sums"].to(self.device, copy=True)
        self._seconds = state["seconds"]

    def _target(self, scores: Float[Tensor, " cell"]) -> Float[Tensor, " cell"]:
        """Return what the valuer is to say of training cells."""
        if self.recipe.three_way.valuer == "regression":
            return scores.float()
        strong = torch.zeros(len(scores))
        best = scores.argsort(descending=True, stable=True)
        strong[best[: max(1, round(self.recipe.strong * len(scores)))]] = 1
        return strong

    def _step(self) -> Losses:
        """Take a step of all three networks of all replicas."""
        recipe = self.recipe
        rows = [self._rows(i) for i in range(len(self.seeds))]
        num_ops = self.model.layout.num_ops
        real = Relaxed.of([a[row] for a, row in zip(self._archs, rows, strict=True)], num_ops)
        target = torch.stack([t[row] for t, row in zip(self._targets, rows, strict=True)])
        done = self.graphs / recipe.graphs
        warm = done < recipe.warmup
        balance = torch.ones_like(self._balance) if warm else self._balance
        rngs = [stream(seed, f"fit/step/{self.steps}") for seed in self.seeds]
        losses = self.model.step(
            real, target, balance, self._goal, rngs=rngs, rate=self._rate(done)
        )
        self.graphs += recipe.batch_size
        self.steps += 1
        return losses

    def _rows(self, i: int) -> Int[Tensor, " batch"]:
        """Return the next batch of a replica; an epoch leaves out what does not fill a batch."""
        size, batch = len(self.data[i]), self.recipe.batch_size
        epoch, place = divmod(self.steps, size // batch)
        if self._orders[i][0] != epoch:
            rng = stream(self.seeds[i], f"fit/epoch/{epoch}")
            self._orders[i] = epoch, torch.randperm(size, generator=rng).to(self.device)
        return self._orders[i][1][place * batch : (place + 1) * batch]

    def _rate(self, done: float) -> float:
        """Return what learning rates are multiplied by."""
        return (1 + math.cos(math.pi * done)) / 2 if self.recipe.schedule == "cosine" else 1.0

    def _add(self, losses: Losses) -> None:
        values = torch.stack([losses.generator, losses.discriminator, losses.valuer])
        if not bool(values.isfinite().all()):
            bad = self.seeds[int((~values.isfinite()).any(dim=0).nonzero()[0, 0])]
            raise RuntimeError(
                f"a loss is not finite after {self.graphs} graphs (seed {bad}): try a smaller "
                "learning rate"
            )
        self._sums += torch.cat([values, losses.told_apart[None]])
        self._count += 1

    def _period_ends(self) -> bool:
        """Tell whether the step just taken was the last one of a period, or of all."""
        period, batch = self.recipe.period, self.recipe.batch_size
        return self.finished or self.graphs // period > (self.graphs - batch) // period

    def _recorded(self) -> AdversarialRecord:
        """Close a period."""
        done = (self.graphs - self.recipe.batch_size) / self.recipe.graphs
        rate = self._rate(done) * self.model.rates[1]
        for i, values in enumerate((self._sums / self._count).T.tolist()):
            balance = 1.0 if done < self.recipe.warmup else float(self._balance[i])
            generator, discriminator, valuer, right = values
            self.histories[i].append(
                AdversarialRecord(
                    self.graphs,
                    generator,
                    discriminator,
                    valuer,
                    right,
                    balance,
                    rate,
                    self._seconds,
                )
            )
        self._sums.zero_()
        self._count = 0
        return self.histories[0][-1]
