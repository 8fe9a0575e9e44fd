"""BANANAS [White2019]: mutate the best, and evaluate what an ensemble of perceptrons thinks good.

Deviations from the released code: graphs keep no nodes that lie on no path, those are drawn anew
for each mutation (`netwright.searchers.mutation`); random architectures take over where too few
mutants are new.

The ensemble that is due is fitted when it is needed, so that several searches can fit theirs as
one stacked model; see `netwright.searchers.together`.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.mutation import mutants
from netwright.spaces.base import SearchSpace
from netwright.surrogates.ensemble import Ensemble, EnsembleOptions, Lesson, fit_together

_EXPLORE = 0.5  # deviations that "ucb" adds to the mean


@dataclass(frozen=True)
class BananasOptions:
    """How to search; the defaults are the released code's.

    Attributes:
        initial: Random architectures evaluated first.
        candidates: Mutants of the best architecture from which proposals are chosen.
        parents: Where fewer of the mutants are new, those of the next best are added, of at most
            so many architectures in all.
        rate: How many edges, and how many operations, a mutation changes on average.
        acquisition: "its", independent Thompson sampling: one draw for each candidate from a
            normal distribution with the ensemble's mean and deviation; "ucb", the mean plus half
            a deviation; "mean".
        ensemble: The predictor.

    Raises:
        ValueError: If a number is not positive.
    """

    initial: int = 10
    candidates: int = 100
    parents: int = 5
    rate: float = 1.0
    acquisition: Literal["its", "ucb", "mean"] = "its"
    ensemble: EnsembleOptions = field(default_factory=EnsembleOptions)

    def __post_init__(self) -> None:
        for name in ("initial", "candidates", "parents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be above 0, not {self.rate}")


class Bananas:
    """Propose mutants of the best architectures for which the ensemble predicts most.

    The first ``initial`` are random (origin "random"). From then on the ensemble learns all that
    was told, anew for every `ask` (published: of 10), and its best candidates are proposed (origin
    "mutation"). Failed evaluations are not learnt.

    Args:
        space: Where to search.
        options: How.
    """

    def __init__(self, space: SearchSpace, *, options: BananasOptions | None = None) -> None:
        self.space = space
        self.options = BananasOptions() if options is None else options
        self._fresh = Fresh(space)
        self._archs = self._fresh.none()  # all that were told, and
        self._score = torch.zeros(0)  # their scores
        self._seed = 0  # of the ensemble that learns them
        self._ensemble: Ensemble | None = None  # fitted to them, if it was needed: no state
        self._fallback = 0
        self._stats: dict[str, float] = {}

    @property
    def ensemble(self) -> Ensemble:
        """The predictor, fitted to all that was told.

        Raises:
            ValueError: If no score is known yet.
        """
        if self._ensemble is None:
            self.train_with([])
        assert self._ensemble is not None
        return self._ensemble

    @property
    def training_due(self) -> Hashable | None:
        """`TrainsTogether.training_due`: ensembles of one shape and equally many scores."""
        known = int(self._score.isfinite().sum())
        if self._ensemble is not None or not known or self._still_random:
            return None
        return self.options.ensemble, self.space.name, known

    def train_with(self, others: Sequence["Bananas"]) -> None:
        """`TrainsTogether.train_with`.

        Raises:
            FloatingPointError: If training diverged.
        """
        lessons = []
        for searcher in (self, *others):
            ensemble = Ensemble(searcher.space.layout, searcher.options.ensemble)
            rng = torch.Generator().manual_seed(searcher._seed)
            lessons.append(Lesson(ensemble, searcher._archs, searcher._score, rng))
        fit_together(lessons)
        for searcher, lesson in zip((self, *others), lessons, strict=True):
            searcher._ensemble = lesson.ensemble

    @property
    def _still_random(self) -> int:
        """How many more random architectures are to come before the first mutants."""
        return max(self.options.initial - len(self._score), 0)

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted."""
        learns = bool(self._score.isfinite().any())
        first = self._fresh.random(min(n, self._still_random) if learns else n, rng=rng)
        owed = n - len(first) if learns else 0
        chosen = self._mutants(owed, rng) if owed else Proposals.of(self._fresh.none(), "mutation")
        last = self._fresh.random(owed - len(chosen), rng=rng)
        self._fallback += len(last)
        return Proposals.cat([first, chosen, last])

    def _mutants(self, n: int, rng: torch.Generator) -> Proposals:
        """Choose among mutants of the best."""
        archs = self._candidates(rng)
        value = torch.zeros(0)
        if len(archs):
            mean, sd = self.ensemble.mean_and_sd(archs)
            match self.options.acquisition:
                case "its":
                    value = mean + sd * torch.randn(len(mean), generator=rng)
                case "ucb":
                    value = mean + _EXPLORE * sd
                case "mean":
                    value = mean
            self._stats = {"predicted": float(mean.mean()), "deviation": float(sd.mean())}
        self._stats["candidates"] = float(len(archs))
        chosen = archs[value.argsort(descending=True, stable=True)[:n]]
        self._fresh.add(chosen)
        return Proposals.of(chosen, "mutation")

    def _candidates(self, rng: torch.Generator) -> ArchitectureBatch:
        """Return mutants of the best architectures that are new, each once."""
        options, found = self.options, self._fresh.none()
        score = self._score.nan_to_num(nan=-math.inf)
        for i in score.argsort(descending=True, stable=True)[: options.parents].tolist():
            parent = self._archs[i : i + 1]
            more = mutants(self.space, parent, options.candidates, rng=rng, rate=options.rate)
            found = ArchitectureBatch.cat([found, more])
            found = found[self._fresh.unseen(found)]
            if len(found) >= options.candidates:
                break
        return found

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Take down scores, for the ensemble to learn when it is needed next.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        archs, score = self._fresh.admit(archs, score)
        if not len(score):
            return
        self._archs = ArchitectureBatch.cat([self._archs, archs])
        self._score = torch.cat([self._score, score.float()])
        self._seed = int(torch.randint(2**53, (), generator=rng))
        self._ensemble = None

    def state_dict(self) -> dict[str, Any]:
        """Return what was told and seen, and the seed of the ensemble, which is fitted again."""
        archs = self._archs
        return {
            "fresh": self._fresh.state_dict(),
            "archs": {"ops": archs.ops, "adj": archs.adj, "num_nodes": archs.num_nodes},
            "score": self._score,
            "seed": self._seed,
            "fallback": self._fallback,
            "stats": dict(self._stats),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._archs, self._score = ArchitectureBatch(**state["archs"]), state["score"]
        self._seed, self._ensemble = state["seed"], None
        self._fallback, self._stats = state["fallback"], dict(state["stats"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "fallback": random proposals so far that mutants owed; of the last `ask`: "candidates", how
        many there were, and the means over them of what the ensemble "predicted" and of the
        members' "deviation".
        """
        return {"fallback": float(self._fallback)} | self._stats
