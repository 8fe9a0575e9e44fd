"""Local search: go uphill from the best of a few random architectures, and start again at the top.

The strong baseline of tabular benchmarks [White2020]. It differs from the authors' code in one
point: an architecture whose score is known counts at once, wherever it comes up again, so that a
step over known neighbours costs nothing and no evaluation is spent twice.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import SearchSpace

Neighbourhood = Literal["first", "full"]
_Key = tuple[int, int]


class LocalSearch:
    """Climb from the best of ``initial`` random architectures to a local optimum, again and again.

    At the current architecture, neighbours are proposed in random order (origin "neighbour").
    "first" moves to the first one that is better, in the order in which they are told; "full"
    moves to the best one once all of them are known. Where no neighbour is better, the search
    starts again from new random architectures (origin "random"). A failed evaluation counts as
    minus infinity.

    Asked for more than there are neighbours left, it adds random architectures; they and
    architectures it is told without having proposed them are starting points of the next climb.
    Ask for one at a time for the published behaviour.

    Args:
        space: Where to search.
        initial: How many starting points a climb chooses from.
        neighbourhood: "first" or "full".

    Raises:
        ValueError: If ``initial`` is below 1.
    """

    def __init__(
        self, space: SearchSpace, *, initial: int = 10, neighbourhood: Neighbourhood = "first"
    ) -> None:
        if initial < 1:
            raise ValueError(f"initial must be at least 1, not {initial}")
        self.space, self.initial, self.neighbourhood = space, initial, neighbourhood
        self._fresh = Fresh(space)
        self._score: dict[_Key, float] = {}  # of everything told
        self._asked: dict[_Key, str] = {}  # origin of what was proposed and not yet told
        self._starts: dict[_Key, ArchitectureBatch] = {}  # told, for the next climb
        self._waiting = self._fresh.none()  # random ones, to be proposed next
        self._current: _Key | None = None
        self._neighbours = self._fresh.none()  # of the current one, in the order to propose them
        self._keys: list[_Key] = []  # theirs
        self._next = 0  # the neighbours before this one were proposed or known
        self._moves = self._optima = 0

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        rows = list[int]()
        while len(rows) < n and self._next < len(self._keys):
            key = self._keys[self._next]
            if not self._is_known(key):
                rows.append(self._next)
            self._next += 1
        near = Proposals.of(self._neighbours[torch.tensor(rows, dtype=torch.long)], "neighbour")
        self._fresh.add(near.archs)
        self._asked.update((self._keys[row], "neighbour") for row in rows)
        if len(rows) == n:
            return near
        far = Proposals.of(self._random(n - len(rows), rng), "random")
        self._asked.update((key, "random") for key in self._pairs(far.archs))
        return Proposals.cat([near, far])

    def _random(self, n: int, rng: torch.Generator) -> ArchitectureBatch:
        """Draw random architectures; those of a climb at once, which is as quick as one."""
        found = self._fresh.none()
        while len(found) < n:
            missing = n - len(found)
            if not len(self._waiting):
                wanted = max(missing, self.initial - len(self._starts) - len(found))
                self._waiting = self._fresh.random(wanted, rng=rng).archs
                if not len(self._waiting):
                    break
            keys = self._pairs(self._waiting)
            new = [row for row, key in enumerate(keys) if not self._is_known(key)][:missing]
            found = ArchitectureBatch.cat(
                [found, self._waiting[torch.tensor(new, dtype=torch.long)]]
            )
            self._waiting = self._waiting[new[-1] + 1 if len(new) == missing else len(keys) :]
        return found

    def _is_known(self, key: _Key) -> bool:
        return key in self._score or key in self._asked

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn scores one after another, and move as soon as one is a reason to.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        archs, score = self._fresh.admit(archs, score)
        for i, (key, value) in enumerate(zip(self._pairs(archs), score.tolist(), strict=True)):
            origin = self._asked.pop(key, "foreign")
            if key not in self._score and origin != "neighbour":
                self._starts[key] = archs[i : i + 1]
            self._score[key] = -math.inf if math.isnan(value) else value
            self._advance(rng)

    def _advance(self, rng: torch.Generator) -> None:
        """Move for as long as what is known is enough to do so."""
        while True:
            if self._current is None:
                if len(self._starts) < self.initial:
                    return
                best = max(self._starts, key=self._score.__getitem__)  # of equals the first
                self._go_to(best, self._starts[best], rng)
                self._starts = {}
                continue
            known = [row for row, key in enumerate(self._keys) if key in self._score]
            complete = len(known) == len(self._keys)
            height = {row: self._score[self._keys[row]] for row in known}
            best_row = max(height, key=height.__getitem__, default=-1)
            better = best_row >= 0 and height[best_row] > self._score[self._current]
            if better and (complete or self.neighbourhood == "first"):
                self._moves += 1
                self._go_to(self._keys[best_row], self._neighbours[best_row : best_row + 1], rng)
            elif complete:
                self._optima += 1
                self._current = None
                self._surround(self._fresh.none())
            else:
                return

    def _go_to(self, key: _Key, arch: ArchitectureBatch, rng: torch.Generator) -> None:
        self._current = key
        neighbours = self.space.neighbours(arch).pad(self.space.layout.max_nodes)
        self._surround(neighbours[torch.randperm(len(neighbours), generator=rng)])

    def _surround(self, neighbours: ArchitectureBatch) -> None:
        self._neighbours, self._keys, self._next = neighbours, self._pairs(neighbours), 0

    def _pairs(self, archs: ArchitectureBatch) -> list[_Key]:
        return hashing.to_pairs(self.space.keys(archs))

    def state_dict(self) -> dict[str, Any]:
        """Return what is known, where the search stands, and what it would propose next."""
        starts = ArchitectureBatch.cat([self._fresh.none(), *self._starts.values()])
        return {
            "fresh": self._fresh.state_dict(),
            "told": torch.tensor(list(self._score), dtype=torch.long).view(-1, 2),
            "score": torch.tensor(list(self._score.values()), dtype=torch.float64),
            "asked": torch.tensor(list(self._asked), dtype=torch.long).view(-1, 2),
            "origin": list(self._asked.values()),
            "starts": _graphs(starts),
            "waiting": _graphs(self._waiting),
            "current": None if self._current is None else list(self._current),
            "neighbours": _graphs(self._neighbours),
            "next": self._next,
            "moves": self._moves,
            "optima": self._optima,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._score = dict(
            zip(hashing.to_pairs(state["told"]), state["score"].tolist(), strict=True)
        )
        self._asked = dict(zip(hashing.to_pairs(state["asked"]), state["origin"], strict=True))
        starts = ArchitectureBatch(**state["starts"])
        self._starts = {key: starts[i : i + 1] for i, key in enumerate(self._pairs(starts))}
        self._waiting = ArchitectureBatch(**state["waiting"])
        current = state["current"]
        self._current = None if current is None else (current[0], current[1])
        self._surround(ArchitectureBatch(**state["neighbours"]))
        self._next, self._moves, self._optima = state["next"], state["moves"], state["optima"]

    def stats(self) -> dict[str, float]:
        """Return the moves uphill and the local optima so far, and the neighbours left to try."""
        left = sum(key not in self._score for key in self._keys)
        counts = {"moves": self._moves, "local optima": self._optima, "neighbours left": left}
        return {name: float(count) for name, count in counts.items()}


def _graphs(archs: ArchitectureBatch) -> dict[str, Tensor]:
    return {"ops": archs.ops, "adj": archs.adj, "num_nodes": archs.num_nodes}
