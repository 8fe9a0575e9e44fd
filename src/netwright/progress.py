"""What a search has come to: results, steps, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from netwright.evaluation import Evaluation
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.base import Proposals

Status = Literal["evaluated", "recalled", "repeat", "initial"]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results that have just come in.

    Attributes:
        step: The ask/tell round they belong to, from 0.
        index: Number of each evaluation, from 0: it names the random stream it drew from. That
            of the first evaluation for a repeat; -1 for initial labels.
        key: Key of each architecture, 32 hexadecimal digits, equal for isomorphic ones.
        proposals: The architectures and their origins.
        evaluation: Their results.
        status: "evaluated" now; "recalled" from an earlier life of this search; "repeat" of an
            architecture evaluated before (free); "initial", known before the search.
    """

    step: int
    index: tuple[int, ...]
    key: tuple[str, ...]
    proposals: Proposals
    evaluation: Evaluation
    status: Status

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Step:
    """The searcher has been told the results of a step; its state is consistent.

    Attributes:
        step: The ask/tell round, from 0.
        evaluations: Distinct architectures evaluated so far.
        stats: What the searcher has to say of itself.
        seconds: How long it took to propose and to learn.
    """

    step: int
    evaluations: int
    stats: dict[str, float]
    seconds: float = field(default=0.0, compare=False)


@dataclass
class Progress:
    """How far a search has come: with the searcher's own state, all it takes to go on.

    Attributes:
        rng: The searcher's random stream.
        step: Steps told.
        by_number: Whether each evaluation counts by itself, since scores change.
        done: Every result so far by name: the chunk it came in, and its row there. Its name is
            the key of the architecture or, ``by_number``, the evaluation's number.
        told: Numbers of the evaluations the searcher has been told.
        asked: Number and proposal of evaluations under way, by key (asynchronous mode).
    """

    rng: torch.Generator
    by_number: bool = False
    step: int = 0
    done: dict[str, tuple[Chunk, int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    asked: dict[str, tuple[int, Proposals]] = field(default_factory=dict)

    @classmethod
    def start(cls, seed: int) -> "Progress":
        """The beginning of the search called ``seed``."""
        return cls(stream(seed, "searcher"))

    def state_dict(self) -> dict[str, Any]:
        """Return what the results on disk do not tell."""
        told = torch.tensor(sorted(self.told), dtype=torch.long)
        state = {"step": self.step, "rng": self.rng.get_state(), "told": told, "asked": None}
        if self.asked:
            numbers, parts = zip(*self.asked.values(), strict=True)
            asked = Proposals.cat(parts)
            graphs = {name: getattr(asked.archs, name) for name in ("ops", "adj", "num_nodes")}
            state["asked"] = {"numbers": list(numbers), "origin": list(asked.origin), **graphs}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.told, self.asked = state["step"], set(state["told"].tolist()), {}
        self.rng.set_state(state["rng"])
        if asked := state["asked"]:
            archs = ArchitectureBatch(asked["ops"], asked["adj"], asked["num_nodes"])
            proposals = Proposals(archs, tuple(asked["origin"]))
            for i, (key, number) in enumerate(zip(keys_of(archs), asked["numbers"], strict=True)):
                self.asked[key] = (number, proposals[i : i + 1])

    def recall(self, chunk: Chunk) -> None:
        """Take in results, for example those that an earlier life of this search paid for."""
        for row, key in enumerate(chunk.key):
            self.done[str(chunk.index[row]) if self.by_number else key] = (chunk, row)

    def number(self, name: str) -> int:
        """Return the number of an evaluation."""
        chunk, row = self.done[name]
        return chunk.index[row]

    def untold(self) -> list[str]:
        """Return the names of what was evaluated but not told, oldest first."""
        if len(self.done) == len(self.told):  # as at the end of nearly all steps
            return []
        return [name for name in self.done if self.number(name) not in self.told]

    def recorded(self, names: Sequence[str]) -> Chunk:
        """Return results as they came in, at least one; they cost nothing now."""
        rows = [self.done[name] for name in names]
        parts = [chunk.proposals[row : row + 1] for chunk, row in rows]
        return self._free(names, Proposals.cat(parts), "recalled")

    def look_up(self, proposals: Proposals, status: Status) -> Chunk:
        """Return the known results of proposals, at least one; they cost nothing now."""
        return self._free(keys_of(proposals.archs), proposals, status)

    def _free(self, names: Sequence[str], proposals: Proposals, status: Status) -> Chunk:
        rows = [self.done[name] for name in names]
        keys = tuple(chunk.key[row] for chunk, row in rows)
        known = Evaluation.cat([chunk.evaluation[row : row + 1] for chunk, row in rows])
        free = Evaluation(known.score, torch.zeros_like(known.cost), known.extras, known.error)
        return Chunk(self.step, tuple(map(self.number, names)), keys, proposals, free, status)


def keys_of(archs: ArchitectureBatch) -> tuple[str, ...]:
    """Return the key of each architecture, 32 hexadecimal digits, equal for isomorphic ones."""
    return tuple(hashing.to_hex(hashing.keys(archs)))
