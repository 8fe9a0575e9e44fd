"""What a searcher is, and the shared helper that keeps proposals valid and new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace


@dataclass(frozen=True, eq=False)
class Proposals:
    """Architectures to evaluate, and where each came from.

    Attributes:
        archs: The architectures.
        origin: One word each: "explorer", "generator", "mutation", "random", ...
    """

    archs: ArchitectureBatch
    origin: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.archs) != len(self.origin):
            raise ValueError(f"{len(self.archs)} architectures but {len(self.origin)} origins")

    def __len__(self) -> int:
        return len(self.origin)

    def __getitem__(self, index: Tensor | slice) -> "Proposals":
        """Select by slice, index tensor or mask."""
        picked = torch.arange(len(self))[index].tolist()
        return Proposals(self.archs[index], tuple(self.origin[i] for i in picked))

    @classmethod
    def cat(cls, parts: Sequence["Proposals"]) -> "Proposals":
        """Concatenate."""
        origins = tuple(o for part in parts for o in part.origin)
        return cls(ArchitectureBatch.cat([part.archs for part in parts]), origins)

    @classmethod
    def of(cls, archs: ArchitectureBatch, origin: str) -> "Proposals":
        """Give all architectures one origin."""
        return cls(archs, (origin,) * len(archs))


@runtime_checkable
class Searcher(Protocol):
    """Proposes architectures and learns from their scores.

    The caller owns the loop, the evaluator, the budget and the randomness, so the same
    searcher runs in a table look-up, on a cluster and in a unit test. It is told scores only:
    test accuracy and other extras never reach it.
    """

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        ...

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Learn from evaluated architectures, whether or not they came from `ask`.

        A score of NaN is a failed evaluation.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that `ask` and `tell` depend on, as a tree of tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, so that the search goes on bit for bit."""
        ...

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting of the last step (entropy, share of valid samples)."""
        ...


@dataclass
class Fresh:
    """Keeps proposals valid, simplified and new: the one place where that happens.

    Args:
        space: Says what is valid, and what a simplified graph is.
        max_rounds: How often to draw again before giving up.

    Attributes:
        drawn: Graphs drawn so far.
        invalid: Of these, how many were invalid after simplification.
        repeated: Of the valid ones, how many had been proposed or told before.
    """

    space: SearchSpace
    max_rounds: int = 100
    drawn: int = field(default=0, init=False)
    invalid: int = field(default=0, init=False)
    repeated: int = field(default=0, init=False)
    _seen: set[tuple[int, int]] = field(default_factory=set, init=False)

    def fill(self, n: int, draw: Callable[[int], Proposals]) -> Proposals:
        """Draw until ``n`` valid, new architectures are found or ``max_rounds`` have passed.

        What is returned counts as seen from now on.

        Args:
            n: How many are wanted.
            draw: Returns about as many raw proposals as it is asked for.
        """
        kept: list[Proposals] = [Proposals(self.none(), ())]
        missing = n
        for _ in range(self.max_rounds):
            if missing <= 0:
                break
            raw = draw(missing)
            archs = self.space.simplify(raw.archs)
            ok = self.space.is_valid(archs)
            self.drawn += len(ok)
            self.invalid += int((~ok).sum())
            valid = Proposals(archs, raw.origin)[ok]
            new = self.unseen(valid.archs)
            self.repeated += int((~new).sum())
            kept.append(valid[new][:missing])
            self.add(kept[-1].archs)
            missing -= len(kept[-1])
        return Proposals.cat(kept)

    def unseen(self, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
        """Tell which architectures are new, and not a repeat within the batch."""
        known, mask = set(self._seen), []
        for key in _pairs(self.space.keys(archs)):
            mask.append(key not in known)
            known.add(key)
        return torch.tensor(mask, dtype=torch.bool)

    def add(self, archs: ArchitectureBatch) -> None:
        """Remember architectures as seen."""
        self._seen.update(_pairs(self.space.keys(archs)))

    def none(self) -> ArchitectureBatch:
        """A batch of no architectures."""
        return ArchitectureBatch.empty(self.space.layout.max_nodes)

    def state_dict(self) -> dict[str, Any]:
        """Return counters and keys."""
        seen = torch.tensor(sorted(self._seen), dtype=torch.long).view(-1, 2)
        counters = {"drawn": self.drawn, "invalid": self.invalid, "repeated": self.repeated}
        return {"seen": seen, **counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._seen = set(_pairs(state["seen"]))
        self.drawn, self.invalid = state["drawn"], state["invalid"]
        self.repeated = state["repeated"]


def _pairs(key: Int[Tensor, "batch 2"]) -> list[tuple[int, int]]:
    return [(hi, lo) for hi, lo in key.tolist()]
