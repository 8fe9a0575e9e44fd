"""Policy-gradient search with a likelihood-based generator ([GraphPNAS] section 3.2).

Deviations from the paper, which leaves most of the loop open:

* Explorer or generator is decided by one coin per proposal; ``coin = "step"`` is the released
  code's, one for all proposals of a step.
* Proposals are simplified, then rejected if invalid or known. The buffer stores the simplified
  graph and trains the likelihood of exactly that graph, though other drawings simplify to it too.
  With ``train_on = "raw"`` it stores the graph as it was drawn, which is unbiased.
* An explorer or generator that finds nothing new is replaced, for the proposals it owes, by the
  explorer and at last by the space itself, so that a search ends only when its space does.
* ``refit`` starts each update from a new generator and a new Adam, as the released code does; by
  default training continues.

An update that is due is done when the generator is needed next, and never if a later one makes up
for it. So several searches can do theirs as one stacked model: see `netwright.searchers.together`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.generators.base import Generator
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.policy_gradient import FitOptions, Learner, Lesson, Policy, fit
from netwright.searchers.replay import ReplayBuffer
from netwright.searchers.schedules import Linear, Schedule
from netwright.searchers.together import train_together
from netwright.spaces.base import SearchSpace

_ENTROPY_SAMPLES = 64


@runtime_checkable
class MakePolicy(Protocol):
    """Makes a new generator for a layout, for example ``GraphPNAS`` itself."""

    def __call__(self, layout: Layout, *, rng: torch.Generator) -> Policy:
        """Return a policy whose parameters are drawn from ``rng``."""
        ...


@dataclass(frozen=True)
class ReinforceOptions:
    """How `Reinforce` searches; the defaults are [GraphPNAS] appendix E, for NAS-Bench-101.

    Attributes:
        capacity: How many of the best architectures the generator is trained on.
        share: Instead, which share of all architectures told, by evaluations told: [GraphPNAS] on
            Tiny-ImageNet lets it shrink from 30 % to 10 %.
        update_every: Evaluations told between updates.
        epsilon: Probability that the explorer makes a proposal, by evaluations told.
        coin: Whether explorer or generator is decided for each "proposal" or for a whole "step".
        temperature: Divides the generator's logits when it proposes.
        train_on: "pruned" trains the simplified graphs, "raw" the graphs as they were drawn.
        refit: Start each update from a new generator instead of going on with the old.
        fit: How each update is done.
    """

    capacity: int = 30
    share: Schedule | None = None
    update_every: int = 10
    epsilon: Schedule = field(default_factory=lambda: Linear(1.0, 0.0, over=30))
    coin: Literal["proposal", "step"] = "proposal"
    temperature: float = 1.0
    train_on: Literal["pruned", "raw"] = "pruned"
    refit: bool = False
    fit: FitOptions = field(default_factory=FitOptions)

    def __post_init__(self) -> None:
        for name in ("capacity", "update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


class Reinforce:
    """Train a generator, by policy gradient, on the best architectures so far, and sample it.

    Args:
        space: Where to search.
        make_policy: Makes the generator, which needs an exact ``log_prob``; called again at every
            update if ``options.refit``.
        explorer: The random graphs of the early search; the space's reference distribution if
            None.
        options: Sizes, schedule and learning rule.
        rng: Initialises the generator.

    Raises:
        TypeError: If what ``make_policy`` returns has no ``log_prob`` or cannot be trained.
    """

    def __init__(
        self,
        space: SearchSpace,
        make_policy: MakePolicy,
        *,
        explorer: Generator | None = None,
        options: ReinforceOptions | None = None,
        rng: torch.Generator,
    ) -> None:
        self.space, self.explorer = space, explorer
        self.options = ReinforceOptions() if options is None else options
        self._make_policy = make_policy
        self._fresh = Fresh(space)
        self._buffer = ReplayBuffer(space.layout.max_nodes)
        self._told = self._fallback = 0
        self._due: int | None = None  # seed of the update that is due
        # Graphs as they were drawn, if trained on: of this `ask`, and of proposals not yet told.
        self._draws: dict[tuple[int, int], ArchitectureBatch] = {}
        self._drawn: dict[tuple[int, int], ArchitectureBatch] = {}
        self._ask_stats: dict[str, float] = {}
        self._fit_stats: dict[str, float] = {}
        self._restart(rng)

    @property
    def policy(self) -> Policy:
        """The generator, trained on all that was told."""
        train_together([self])
        return self._learner.policy

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted.

        Their origin is "explorer" or "generator", or "random" where both find nothing new.
        """
        epsilon = self.options.epsilon(self._told)
        coins = torch.rand(n, generator=rng, dtype=torch.float64) < epsilon
        if self.options.coin == "step":
            coins = coins[:1].expand(n)
        explore = int(coins.sum())
        generated = self._generate(n - explore, rng)
        owed = n - explore - len(generated)  # the generator has collapsed
        self._fallback += owed
        explored = self._fresh.fill(explore + owed, self._explore(rng))
        last = self._fresh.random(n - len(generated) - len(explored), rng=rng)
        proposals = Proposals.cat([explored, generated, last])
        for hi, lo in self.space.keys(proposals.archs).tolist() if self._draws else ():
            if (hi, lo) in self._draws:
                self._drawn[hi, lo] = self._draws[hi, lo]
        self._draws.clear()
        return proposals

    def repeat_proposals(self) -> None:
        """From now on propose whatever is valid, known or not."""
        self._fresh.repeats = True

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Put scores into the replay buffer; update the generator when it is due.

        Raises:
            ValueError: If an architecture is not a member of the space.
            FloatingPointError: If training the generator diverged.
        """
        archs, score = self._fresh.admit(archs, score)
        if not self.options.refit:
            train_together([self])  # on what was told before
        self._buffer.add(archs, score, self._raw(archs))
        before, every = self._told, self.options.update_every
        self._told += len(score)
        if self._told // every > before // every and len(self._buffer):
            self._due = int(torch.randint(2**53, (), generator=rng))

    @property
    def training_due(self) -> FitOptions | None:
        """How the update that is due is done; None if none is."""
        return None if self._due is None else self.options.fit

    def train_with(self, others: Sequence["Reinforce"]) -> None:
        """Do the update that is due, and those of others, as one stacked model."""
        group = [self, *others]
        stats = fit([searcher._lesson() for searcher in group], self.options.fit)
        for searcher, values in zip(group, stats, strict=True):
            searcher._fit_stats = values or searcher._fit_stats

    def _lesson(self) -> Lesson:
        """What the update that is due learns from."""
        assert self._due is not None
        rng = torch.Generator().manual_seed(self._due)
        self._due = None
        if self.options.refit:
            self._restart(rng)
        archs, score = self._buffer.best(self._kept)
        return Lesson(self._learner, archs, score, rng)

    @property
    def _kept(self) -> int:
        """How many architectures the generator is trained on now."""
        if self.options.share is None:
            return self.options.capacity
        return max(1, round(self.options.share(self._told) * len(self._buffer)))

    def _restart(self, rng: torch.Generator) -> None:
        policy = self._make_policy(self.space.layout, rng=rng)
        if not isinstance(policy, Policy):
            raise TypeError(f"{type(policy).__name__} has no log_prob: policy gradient needs one")
        self._learner = Learner(policy)

    def _explore(self, rng: torch.Generator) -> Callable[[int], Proposals]:
        sample = self.space.sample if self.explorer is None else self.explorer.sample

        def draw(m: int) -> Proposals:
            archs = sample(m, rng=rng)
            self._remember(archs)
            return Proposals.of(archs, "explorer")

        return draw

    def _remember(self, raw: ArchitectureBatch) -> None:
        """Keep the graphs as they were drawn, the first of each architecture."""
        if self.options.train_on == "raw":
            raw = raw.to("cpu")
            keys = self.space.keys(self.space.simplify(raw)).tolist()
            for i, (hi, lo) in enumerate(keys):
                self._draws.setdefault((hi, lo), raw[i : i + 1].pad(self.space.layout.max_nodes))

    def _raw(self, archs: ArchitectureBatch) -> ArchitectureBatch:
        """Return the drawings of architectures; those not drawn here stand for themselves."""
        if self.options.train_on == "pruned" or not len(archs):
            return archs
        keys = self.space.keys(archs).tolist()
        found = [self._drawn.pop((hi, lo), archs[i : i + 1]) for i, (hi, lo) in enumerate(keys)]
        return ArchitectureBatch.cat(found)

    def _generate(self, n: int, rng: torch.Generator) -> Proposals:
        """Sample the generator, taking down how it did."""
        raw: list[ArchitectureBatch] = []
        policy = self.policy if n else self._learner.policy
        heat = {} if self.options.temperature == 1 else {"temperature": self.options.temperature}

        def draw(m: int) -> Proposals:
            raw.append(policy.sample(m, rng=rng, **heat))
            self._remember(raw[-1])
            return Proposals.of(raw[-1], "generator")

        fresh = self._fresh
        drawn, invalid, repeated = fresh.drawn, fresh.invalid, fresh.repeated
        found = fresh.fill(n, draw)
        if drawn := fresh.drawn - drawn:
            valid = drawn - (fresh.invalid - invalid)
            with torch.no_grad():
                entropy = -policy.log_prob(raw[0][:_ENTROPY_SAMPLES]).mean()
            self._ask_stats = {
                "valid": valid / drawn,
                "repeats": float(fresh.repeated - repeated),
                "entropy": float(entropy),
            }
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return generator, Adam, buffer, what was seen, counters, and what is due."""
        drawn = ArchitectureBatch.cat([self._fresh.none(), *self._drawn.values()])
        return {
            "told": self._told,
            "fallback": self._fallback,
            "due": self._due,
            "policy": _copy(self._learner.policy.state_dict()),
            "adam": _copy(self._learner.adam),
            "buffer": self._buffer.state_dict(),
            "drawn": {"ops": drawn.ops, "adj": drawn.adj, "num_nodes": drawn.num_nodes},
            "fresh": self._fresh.state_dict(),
            "stats": {"ask": dict(self._ask_stats), "fit": dict(self._fit_stats)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._told, self._fallback = state["told"], state["fallback"]
        self._due = state["due"]
        self._learner.policy.load_state_dict(state["policy"])
        self._learner = Learner(self._learner.policy, _copy(state["adam"]))
        self._buffer.load_state_dict(state["buffer"])
        self._remember(ArchitectureBatch(**state["drawn"]))
        self._drawn, self._draws = self._draws, {}
        self._fresh.load_state_dict(state["fresh"])
        self._ask_stats = dict(state["stats"]["ask"])
        self._fit_stats = dict(state["stats"]["fit"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "epsilon"; "fallback", proposals so far that the generator owed; "valid", "repeats" and
        "entropy" (nats, from up to 64 samples): of the generator's draws in the last `ask` in
        which it had a share; "buffer mean", "buffer min", "buffer max": of the scores trained on;
        "loss" and "gradient norm": of the last update's last epoch.
        """
        stats = {"epsilon": self.options.epsilon(self._told), "fallback": float(self._fallback)}
        stats |= self._ask_stats | self._fit_stats
        _, score = self._buffer.best(self._kept)
        if len(score):
            summary = {"mean": score.mean(), "min": score.min(), "max": score.max()}
            stats |= {f"buffer {name}": float(value) for name, value in summary.items()}
        return stats


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in tree.items()}
