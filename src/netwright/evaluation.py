"""What an evaluation is, and the one function signature every evaluator has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch

#: How the error of an evaluation begins that did not fail, but was not worth more epochs.
STOPPED = "stopped after "


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a batch of architectures.

    Attributes:
        score: Quantity to maximise (an accuracy as a fraction in [0, 1]); NaN where the
            evaluation failed.
        cost: Seconds spent, or the seconds a benchmark reports.
        extras: Further quantities by name (test accuracy, parameters); never shown to a searcher.
        error: Why the evaluation failed, one line each; None where it did not. One that begins
            with `STOPPED` was ended early on purpose.
    """

    score: Float[Tensor, " batch"]
    cost: Float[Tensor, " batch"]
    extras: dict[str, Float[Tensor, " batch"]] = field(default_factory=dict)
    error: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.score)
        if not self.error:
            object.__setattr__(self, "error", (None,) * n)
        sizes = [len(self.cost), len(self.error), *map(len, self.extras.values())]
        if any(size != n for size in sizes):
            raise ValueError(f"cost, extras and error need one entry for each of {n} scores")

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: slice) -> "Evaluation":
        """Select evaluations by slice."""
        return Evaluation(
            self.score[index],
            self.cost[index],
            {name: value[index] for name, value in self.extras.items()},
            self.error[index],
        )

    @classmethod
    def cat(cls, parts: Sequence["Evaluation"]) -> "Evaluation":
        """Concatenate; an extra that a part lacks is NaN there."""
        names = dict.fromkeys(name for part in parts for name in part.extras)
        return cls(
            torch.cat([p.score for p in parts]),
            torch.cat([p.cost for p in parts]),
            {
                n: torch.cat([p.extras.get(n, torch.full_like(p.score, torch.nan)) for p in parts])
                for n in names
            },
            tuple(e for p in parts for e in p.error),
        )

    def in_decimals(self) -> "Evaluation":
        """Return the same in 64 bits, each 32-bit number by its shortest decimal form.

        A 32-bit 0.7178 is then 0.7178 in a ledger, not 0.7178000211715698; turned back into 32
        bits it is what it was.
        """
        extras = {name: _decimals(value) for name, value in self.extras.items()}
        return Evaluation(_decimals(self.score), _decimals(self.cost), extras, self.error)

    @classmethod
    def failed(cls, reason: str, *, n: int = 1, cost: float = 0.0) -> "Evaluation":
        """``n`` failures for one ``reason`` (kept to its first line)."""
        line = (reason.strip().splitlines() or ["failed without a message"])[0]
        return cls(torch.full((n,), torch.nan), torch.full((n,), cost), {}, (line,) * n)


def _decimals(values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    if values.dtype != torch.float32:
        return values.double().cpu()
    shortest = [float(str(value)) for value in values.cpu().numpy()]
    return torch.tensor(shortest, dtype=torch.float64)


@runtime_checkable
class Evaluator(Protocol):
    """Scores architectures.

    Attributes:
        chunk: How many architectures to hand over at a time: 1 where each is trained, so that
            each is on disk before the next starts; thousands where they are looked up.
    """

    chunk: int

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture, in order; architecture ``i`` draws from ``rngs[i]`` only."""
        ...


@runtime_checkable
class TrainableEvaluator(Evaluator, Protocol):
    """Learns while the search goes on, as a supernet does, so that its scores change.

    Before each batch is scored, as many other proposals of the searcher are shown to it. An
    architecture may then be scored again, and every scoring counts.

    Attributes:
        train_size: How many architectures to train with before each batch.
    """

    train_size: int

    def train(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> None:
        """Learn with these architectures; all that is random comes from ``rng``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned, as a tree of tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, so that learning goes on bit for bit."""
        ...
