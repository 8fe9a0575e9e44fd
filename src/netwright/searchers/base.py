"""What a searcher is, and the shared helper that keeps proposals valid and new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import Enumerable, SearchSpace

#: Largest space that is listed to find the last architectures not yet proposed.
LISTABLE = 50_000
_LARGEST_DRAW = 1024


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


@runtime_checkable
class Repeating(Protocol):
    """A searcher that can propose an architecture again, where scores change."""

    def repeat_proposals(self) -> None:
        """From now on propose whatever is valid, known or not."""
        ...


@dataclass
class Fresh:
    """Keeps proposals valid, simplified and new: the one place where that happens.

    Args:
        space: Says what is valid, and what a simplified graph is.
        max_draws: How many graphs to draw, for each architecture wanted, before giving up.

    Attributes:
        drawn: Graphs drawn so far.
        invalid: Of these, how many were invalid after simplification.
        repeated: Of the valid ones, how many had been proposed or told before.
        repeats: Whether these count as new all the same; not part of the state.
    """

    space: SearchSpace
    max_draws: int = 100
    drawn: int = field(default=0, init=False)
    invalid: int = field(default=0, init=False)
    repeated: int = field(default=0, init=False)
    repeats: bool = field(default=False, init=False)
    _seen: set[tuple[int, int]] = field(default_factory=set, init=False)
    # Caches, not state: what is left of a listed space, and what was found valid and simple.
    _left: ArchitectureBatch | None = field(default=None, init=False)
    _checked: set[tuple[int, bytes, bytes]] = field(default_factory=set, init=False)

    def fill(
        self, n: int, draw: Callable[[int], Proposals], *, max_draws: int | None = None
    ) -> Proposals:
        """Draw until ``n`` valid, new architectures are found or ``max_draws * n`` were drawn.

        What is returned counts as seen from now on.

        Args:
            n: How many are wanted.
            draw: Returns about as many raw proposals as it is asked for.
            max_draws: Instead of the attribute of that name.
        """
        kept: list[Proposals] = [Proposals(self.none(), ())]
        missing, left = n, n * (self.max_draws if max_draws is None else max_draws)
        ask = n
        while missing > 0 and left > 0:
            raw = draw(min(ask, left))
            left -= ask
            ask = min(2 * ask, max(n, _LARGEST_DRAW))  # few large draws beat many small ones
            archs = self.space.simplify(raw.archs.to("cpu"))
            ok = self.space.is_valid(archs)
            self.drawn += len(ok)
            self.invalid += int((~ok).sum())
            valid = Proposals(archs, raw.origin)[ok]
            key = self.space.keys(valid.archs)
            new = self._new(key)
            self.repeated += int((~new).sum())
            kept.append(valid[new][:missing])
            self._seen.update(hashing.to_pairs(key[new][:missing]))
            self._checked.update(hashing.contents(kept[-1].archs))
            missing -= len(kept[-1])
        return Proposals.cat(kept)

    def random(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Draw ``n`` new architectures from the space itself, to the last one it has.

        A space of up to `LISTABLE` architectures is listed once sampling finds too few new
        ones; in a larger one, 10,000 draws without a new architecture mean that it is exhausted.

        Returns:
            Proposals of origin "random"; fewer than ``n`` only if the space is exhausted.
        """

        def draw(m: int) -> Proposals:
            return Proposals.of(self.space.sample(m, rng=rng), "random")

        found = self.fill(n, draw)
        missing = n - len(found)
        if not missing:
            return found
        if isinstance(self.space, Enumerable) and self.space.size <= LISTABLE:
            everything = self.space.enumerate() if self._left is None else self._left
            self._left = everything[self.unseen(everything)]
            chosen = torch.randperm(len(self._left), generator=rng)[:missing]
            rest = Proposals.of(self._left[chosen], "random")
            self.add(rest.archs)
        else:
            rest = self.fill(missing, draw, max_draws=10_000)
        return Proposals.cat([found, rest])

    def unseen(self, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
        """Tell which architectures are new, and not a repeat within the batch."""
        return self._new(self.space.keys(archs))

    def _new(self, key: Int[Tensor, "batch 2"]) -> Bool[Tensor, " batch"]:
        if self.repeats:
            return torch.ones(len(key), dtype=torch.bool)
        here, mask = set[tuple[int, int]](), []
        for pair in hashing.to_pairs(key):
            mask.append(pair not in self._seen and pair not in here)
            here.add(pair)
        return torch.tensor(mask, dtype=torch.bool)

    def add(self, archs: ArchitectureBatch) -> None:
        """Remember members of the space, simplified, as seen."""
        self._seen.update(hashing.to_pairs(self.space.keys(archs)))
        self._checked.update(hashing.contents(archs))

    def admit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"]
    ) -> tuple[ArchitectureBatch, Float[Tensor, " batch"]]:
        """Take in what a searcher is told: simplify, check, and remember as seen.

        Returns:
            The simplified architectures, padded to the layout's size, and their scores, on the
            CPU.

        Raises:
            ValueError: If the numbers of architectures and scores differ, or an architecture is
                not a member of the space.
        """
        if len(archs) != len(score):
            raise ValueError(f"{len(archs)} architectures but {len(score)} scores")
        archs = archs.to("cpu")
        if not self._checked.issuperset(hashing.contents(archs)):  # its own proposals, as a rule
            archs = self.space.simplify(archs)
            for i in (~self.space.is_valid(archs)).nonzero()[:1, 0].tolist():
                reason = self.space.invalid_reason(archs[i : i + 1])
                raise ValueError(f"architecture {i} of those told is {reason}")
            self.add(archs)
        return archs.pad(self.space.layout.max_nodes), score.detach().to("cpu")

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
        self._seen, self._left = set(hashing.to_pairs(state["seen"])), None
        self.drawn, self.invalid = state["drawn"], state["invalid"]
        self.repeated = state["repeated"]
