"""Successive halving: train all a little, and only the best for longer.

[Li2018] algorithm 1, one bracket, as the inner loop of [Falkner2018]. Hyperband runs brackets that
start at different rungs in turn; an evaluator has no memory that could tell whose turn it is, so
here every bracket starts at the first rung. Proposals by a model of the scores, which make it
BOHB, are `netwright.searchers.density`.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.evaluation import STOPPED, Evaluation, Evaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import child

#: The extra that holds the epochs an architecture was trained for, all rungs together.
EPOCHS = "epochs"


@dataclass(eq=False)
class Halving:
    """Scores the architectures of a call on a first rung, the best of them on the next, and so on.

    Of the n architectures on a rung, the best ceil(n / eta) go on to the next; of equals the
    first. Those that failed never do, so that fewer may go on. The score is that of the last
    rung. An architecture that does not get there is stopped: its score is NaN, its error "stopped
    after 12 epochs", or the error with which it failed.

    Every rung is a training of its own, from scratch. Evaluation ``i`` draws from streams derived
    from ``rngs[i]``, one for each rung, whatever becomes of the others. The cost is that of all
    its rungs. Extras are those of the rungs, of the last one that has a value; ``epochs``, the
    number spent on it; and, by ``names``, the scores of all rungs but the last.

    A call is a bracket. `search` hands over ``chunk`` architectures at a time, so that a step is
    one bracket, and is on disk as a whole or not at all.

    Args:
        rungs: Evaluators, the cheapest first. The last is the full evaluation.
        epochs: How long each of them trains.
        names: Of the score of each rung among the extras; by default ``score@EPOCHS``.
        eta: One in how many goes on.
        workers: How many calls of a rung's evaluator run at the same time; each is given that
            evaluator's own ``chunk`` of architectures.
        chunk: The largest bracket.

    Raises:
        ValueError: If there are fewer than two rungs, or not as many epochs and names; if the
            epochs do not rise; or if a number is too small.
    """

    rungs: Sequence[Evaluator]
    epochs: Sequence[int]
    names: Sequence[str] = ()
    eta: int = 3
    workers: int = 1
    chunk: int = 1 << 16

    def __post_init__(self) -> None:
        self.names = self.names or [f"score@{epochs}" for epochs in self.epochs]
        if len(self.rungs) < 2 or not len(self.rungs) == len(self.epochs) == len(self.names):
            raise ValueError(
                f"halving needs two rungs or more, each with its epochs and name, not "
                f"{len(self.rungs)} rungs, {len(self.epochs)} epochs, {len(self.names)} names"
            )
        if sorted(set(self.epochs)) != list(self.epochs) or self.epochs[0] < 1:
            given = ", ".join(map(str, self.epochs))
            raise ValueError(f"epochs must rise from rung to rung, from at least 1, not {given}")
        for name, least in (("eta", 2), ("workers", 1), ("chunk", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Run one bracket; architecture ``i`` draws from ``rngs[i]`` only."""
        streams = [[child(rng) for _ in self.rungs] for rng in rngs]
        n, device = len(archs), archs.device
        score, cost = torch.full((n,), torch.nan, device=device), torch.zeros(n, device=device)
        spent, extras = torch.zeros(n, device=device), dict[str, Tensor]()
        error: list[str | None] = [None] * n
        here = torch.arange(n, device=device)  # the architectures on this rung
        for number, (rung, epochs) in enumerate(zip(self.rungs, self.epochs, strict=True)):
            mine = [streams[i][number] for i in here.tolist()]
            found = self._evaluate(rung, archs[here], mine)
            cost[here] += found.cost.to(cost)
            spent[here] += epochs
            last = number == len(self.rungs) - 1
            for name, values in (
                found.extras if last else found.extras | {self.names[number]: found.score}
            ).items():
                kept = extras.setdefault(name, values.new_full((n,), torch.nan, device=device))
                kept[here] = torch.where(values.isnan(), kept[here], values.to(kept))
            if last:
                score = score.to(found.score.dtype)
                score[here] = found.score.to(device)
                on = torch.arange(len(here))
            else:
                on = promoted(found.score.cpu(), self.eta)
            stopped = f"{STOPPED}{epochs} epoch{'s' * (epochs > 1)}"
            for row, i in enumerate(here.tolist()):
                error[i] = found.error[row] or (None if row in on else stopped)
            here = here[on.to(device)]
        return Evaluation(score, cost, extras | {EPOCHS: spent}, tuple(error))

    def _evaluate(
        self, rung: Evaluator, archs: ArchitectureBatch, rngs: Sequence[torch.Generator]
    ) -> Evaluation:
        if self.workers == 1 or len(archs) <= rung.chunk:
            return rung(archs, rngs=rngs)

        def one(begin: int) -> Evaluation:
            part = slice(begin, begin + rung.chunk)
            return rung(archs[part], rngs=rngs[part])

        with ThreadPoolExecutor(self.workers) as pool:
            return Evaluation.cat(list(pool.map(one, range(0, len(archs), rung.chunk))))

    def close(self) -> None:
        """End the processes of the rungs, if they have any."""
        for rung in self.rungs:
            if callable(close := getattr(rung, "close", None)):
                close()


def promoted(score: Float[Tensor, " batch"], eta: int) -> Int[Tensor, " kept"]:
    """Return which architectures go on to the next rung, in their order.

    They are the best ceil(n / eta) of n, of equals the first; NaN never is among them.
    """
    rank = torch.where(score.isnan(), -math.inf, score).argsort(descending=True, stable=True)
    best = rank[: -(-len(score) // eta)]
    return best[~score[best].isnan()].sort().values


def epochs_of(metric: str) -> int:
    """Return the epochs in the name of a column, ``dataset/split@epochs``.

    Raises:
        ValueError: If there are none.
    """
    _, at, epochs = metric.rpartition("@")
    if not at or not epochs.isdecimal():
        raise ValueError(f"{metric} does not name its epochs: rungs are columns dataset/split@12")
    return int(epochs)


def spent(extras: Sequence[Mapping[str, float]], *, epochs: int) -> list[float]:
    """Return how many full evaluations had been paid for after each evaluation.

    Args:
        extras: Of the evaluations, in their order. One that does not say for how many epochs an
            architecture was trained stands for a full evaluation.
        epochs: What a full evaluation takes.
    """
    return [total / epochs for total in accumulate(e.get(EPOCHS, epochs) for e in extras)]
