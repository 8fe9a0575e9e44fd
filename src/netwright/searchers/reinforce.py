"""Policy-gradient search with a likelihood-based generator ([GraphPNAS] section 3.2).

Deviations from the paper, which leaves most of the loop open:

* Explorer or generator is decided by one coin per proposal (the released code: per step).
* Proposals are simplified, then rejected if invalid or known. The buffer stores the simplified
  graph and trains the likelihood of exactly that graph, though other drawings simplify to it too.
* An explorer or generator that finds nothing new is replaced, for the proposals it owes, by the
  explorer and at last by the space itself, so that a search ends only when its space does.
* ``refit`` starts each update from a new generator and a new Adam, as the released code does; by
  default training continues.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.generators.base import Generator
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.policy_gradient import FitOptions, Policy, fit, optimiser_of
from netwright.searchers.replay import ReplayBuffer
from netwright.searchers.schedules import Linear, Schedule
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
        update_every: Evaluations told between updates.
        epsilon: Probability that the explorer makes a proposal, by evaluations told.
        refit: Start each update from a new generator instead of going on with the old.
        fit: How each update is done.
    """

    capacity: int = 30
    update_every: int = 10
    epsilon: Schedule = field(default_factory=lambda: Linear(1.0, 0.0, over=30))
    refit: bool = False
    fit: FitOptions = field(default_factory=FitOptions)

    def __post_init__(self) -> None:
        for name in ("capacity", "update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


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

    Attributes:
        policy: The generator as it is now.

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
        self._ask_stats: dict[str, float] = {}
        self._fit_stats: dict[str, float] = {}
        self._restart(rng)

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted.

        Their origin is "explorer" or "generator", or "random" where both find nothing new.
        """
        epsilon = self.options.epsilon(self._told)
        coins = torch.rand(n, generator=rng, dtype=torch.float64) < epsilon
        explore = int(coins.sum())
        generated = self._generate(n - explore, rng)
        owed = n - explore - len(generated)  # the generator has collapsed
        self._fallback += owed
        explored = self._fresh.fill(explore + owed, self._explore(rng))
        last = self._fresh.random(n - len(generated) - len(explored), rng=rng)
        return Proposals.cat([explored, generated, last])

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Put scores into the replay buffer; update the generator when it is due.

        Raises:
            ValueError: If an architecture is not a member of the space.
            FloatingPointError: If training the generator diverged.
        """
        archs, score = self._fresh.admit(archs, score)
        self._buffer.add(archs, score)
        before, every = self._told, self.options.update_every
        self._told += len(score)
        if self._told // every > before // every and len(self._buffer):
            self._update(rng)

    def _update(self, rng: torch.Generator) -> None:
        archs, score = self._buffer.best(self.options.capacity)
        if self.options.refit:
            self._restart(rng)
        stats = fit(self.policy, self._optimiser, archs, score, self.options.fit, rng=rng)
        self._fit_stats = stats or self._fit_stats

    def _restart(self, rng: torch.Generator) -> None:
        policy = self._make_policy(self.space.layout, rng=rng)
        if not isinstance(policy, Policy):
            raise TypeError(f"{type(policy).__name__} has no log_prob: policy gradient needs one")
        self.policy: Policy = policy
        self._optimiser = optimiser_of(policy, self.options.fit)

    def _explore(self, rng: torch.Generator) -> Callable[[int], Proposals]:
        sample = self.space.sample if self.explorer is None else self.explorer.sample
        return lambda m: Proposals.of(sample(m, rng=rng), "explorer")

    def _generate(self, n: int, rng: torch.Generator) -> Proposals:
        """Sample the generator, taking down how it did."""
        raw: list[ArchitectureBatch] = []

        def draw(m: int) -> Proposals:
            raw.append(self.policy.sample(m, rng=rng))
            return Proposals.of(raw[-1], "generator")

        fresh = self._fresh
        drawn, invalid, repeated = fresh.drawn, fresh.invalid, fresh.repeated
        found = fresh.fill(n, draw)
        if drawn := fresh.drawn - drawn:
            valid = drawn - (fresh.invalid - invalid)
            with torch.no_grad():
                entropy = -self.policy.log_prob(raw[0][:_ENTROPY_SAMPLES]).mean()
            self._ask_stats = {
                "valid": valid / drawn,
                "repeats": float(fresh.repeated - repeated),
                "entropy": float(entropy),
            }
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return generator, Adam, buffer, what was seen, and counters."""
        moments = self._optimiser.state_dict()["state"]  # by position; none if never used
        count = sum(1 for _ in self.policy.parameters())
        return {
            "told": self._told,
            "fallback": self._fallback,
            "policy": _copy(self.policy.state_dict()),
            "adam": [_copy(moments.get(i, {})) for i in range(count)],
            "buffer": self._buffer.state_dict(),
            "fresh": self._fresh.state_dict(),
            "stats": {"ask": dict(self._ask_stats), "fit": dict(self._fit_stats)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._told, self._fallback = state["told"], state["fallback"]
        self.policy.load_state_dict(state["policy"])
        self._optimiser = optimiser_of(self.policy, self.options.fit)
        moments = {i: _copy(moment) for i, moment in enumerate(state["adam"]) if moment}
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
        self._buffer.load_state_dict(state["buffer"])
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
        _, score = self._buffer.best(self.options.capacity)
        if len(score):
            summary = {"mean": score.mean(), "min": score.min(), "max": score.max()}
            stats |= {f"buffer {name}": float(value) for name, value in summary.items()}
        return stats


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in tree.items()}
