r"""Online search with GNN2GNN, which [GNN2GNN] section 6 leaves as future work.

Random architectures come first. From then on the generator proposes, and every few evaluations it
learns, with its discriminator and its valuer, from all that was told (`ThreeWay`). The paper says
nothing of such a loop; here:

* The best share of what was told, ``strong``, is what the valuer is to recognise, and a share of
  each batch, ``tilt``, is drawn from it: what the discriminator takes for real leans to the best,
  and the valuer sees both classes. ``tilt = 0`` draws alike from all that was told, as a fit does.
* The first ``warmup`` steps of new networks heed the discriminator only, as a fit's first half.
* The generator's entropy is part of what it maximises. Without, and without bounds on its logits,
  it may end at graphs without a path, from which no gradient leads away.
* Networks go on from update to update; ``refit`` starts each update from new ones.
* Where the generator finds nothing new, its draws are heated. For what it still owes, the space
  itself is drawn from, so that a search ends only when its space does.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.generators.base import Generator
from netwright.generators.relaxed import Differentiable, Relaxed
from netwright.generators.three_way import Losses, ThreeWay, ThreeWayOptions
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import child
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.latent import normal_scores
from netwright.searchers.replay import ReplayBuffer
from netwright.searchers.schedules import Constant, Schedule
from netwright.spaces.base import SearchSpace

#: How often a generator that finds nothing new is heated, and by how much each time.
_HEATINGS, _HEAT = 3, 2.0
#: Graphs drawn for each one wanted, before the generator is heated.
_DRAWS = 30


@runtime_checkable
class MakeGenerator(Protocol):
    """Makes a new generator for a layout, for example ``GNN2GNN`` itself."""

    def __call__(self, layout: Layout, *, rng: torch.Generator) -> Generator:
        """Return a `Differentiable` generator whose parameters are drawn from ``rng``."""
        ...


def _three_way() -> ThreeWayOptions:
    return ThreeWayOptions(learning_rate=3e-3, gan_loss="non-saturating", entropy=0.02)


@dataclass(frozen=True)
class AdversarialSearchOptions:
    r"""How `AdversarialSearch` searches; the defaults are for budgets of some hundred evaluations.

    Attributes:
        initial: Evaluations told before the first update; until then proposals are random.
        update_every: Evaluations told between updates.
        steps: Steps of an update.
        batch_size: Graphs of what was told per step, drawn with replacement, and as many
            generated ones.
        strong: Share of what was told that the valuer calls strong, the best of it.
        tilt: Share of a batch that is drawn from the strong ones.
        balance: $\lambda$, the discriminator's weight in the generator's loss.
        warmup: Steps of new networks during which $\lambda = 1$.
        epsilon: Probability that a proposal is random, by evaluations told.
        temperature: Divides the generator's logits when it proposes.
        refit: Start each update from new networks instead of going on with the old.
        three_way: How a step trains. A valuer that is a "regression" learns normal scores of the
            ranks, and the generator is to reach the highest.
    """

    initial: int = 10
    update_every: int = 5
    steps: int = 30
    batch_size: int = 32
    strong: float = 0.2
    tilt: float = 0.5
    balance: float = 0.1
    warmup: int = 0
    epsilon: Schedule = field(default_factory=lambda: Constant(0.0))
    temperature: float = 1.0
    refit: bool = False
    three_way: ThreeWayOptions = field(default_factory=_three_way)

    def __post_init__(self) -> None:
        least_of = {"initial": 0, "warmup": 0, "update_every": 1, "steps": 1, "batch_size": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("tilt", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be within 0 and 1, not {getattr(self, name)}")
        if not 0 < self.strong < 1:
            raise ValueError(f"strong must be between 0 and 1, not {self.strong}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


class AdversarialSearch:
    """Train a generator against a discriminator and for a valuer, on what was told, and sample it.

    Args:
        space: Where to search.
        make_generator: Makes the generator, whose draws need gradients; called again at every
            update if ``options.refit``.
        options: Sizes, schedules and losses.
        rng: Initialises generator, discriminator and valuer.

    Raises:
        TypeError: If the draws of what ``make_generator`` returns have no gradients.
    """

    def __init__(
        self,
        space: SearchSpace,
        make_generator: MakeGenerator,
        *,
        options: AdversarialSearchOptions | None = None,
        rng: torch.Generator,
    ) -> None:
        self.space = space
        self.options = AdversarialSearchOptions() if options is None else options
        self._make_generator = make_generator
        self._fresh = Fresh(space)
        self._buffer = ReplayBuffer(space.layout.max_nodes)
        self._told = self._updates = self._fallback = 0
        self._ask_stats: dict[str, float] = {}
        self._fit_stats: dict[str, float] = {}
        self._restart(rng)

    @property
    def model(self) -> ThreeWay:
        """Generator, discriminator and valuer as they stand."""
        return self._model

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose ``n`` valid, new architectures; fewer only if the space is exhausted.

        Their origin is "generator" or "random".
        """
        explore = n
        if self._updates:
            coins = torch.rand(n, generator=rng, dtype=torch.float64)
            explore = int((coins < self.options.epsilon(self._told)).sum())
        generated = self._generate(n - explore, rng)
        self._fallback += n - explore - len(generated)  # the generator has collapsed
        return Proposals.cat([generated, self._fresh.random(n - len(generated), rng=rng)])

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Take in scores; train the three networks when it is due.

        Raises:
            ValueError: If an architecture is not a member of the space.
            FloatingPointError: If training diverged.
        """
        archs, score = self._fresh.admit(archs, score)
        self._buffer.add(archs, score)
        before, every = self._told, self.options.update_every
        self._told += len(score)
        due = self._told // every > before // every or before < self.options.initial
        if due and self._told >= self.options.initial and len(self._buffer):
            self._update(child(rng))

    def _restart(self, rng: torch.Generator) -> None:
        generator = self._make_generator(self.space.layout, rng=rng)
        self._model = ThreeWay(generator, self.options.three_way, rng=rng)

    def _update(self, rng: torch.Generator) -> None:
        """Train on what was told."""
        options = self.options
        if options.refit:
            self._restart(rng)
        device = next(self._model.generator.parameters()).device
        archs, score = self._buffer.best(len(self._buffer))
        strong = max(1, round(options.strong * len(score)))
        target = self._target(score, strong).to(device)
        archs, goal = archs.to(device), target.max()[None]
        warm = options.warmup if options.refit or not self._updates else 0
        total = torch.zeros(len(Losses._fields), device=device)
        for step in range(options.steps):
            rows = self._rows(strong, len(score), rng).to(device)
            real = Relaxed.of([archs[rows]], self.space.layout.num_ops)
            balance = target.new_tensor([1.0 if step < warm else options.balance])
            losses = self._model.step(real, target[rows][None], balance, goal, rngs=[rng])
            total += torch.stack(losses)[:, 0]
        if not bool(total.isfinite().all()):
            raise FloatingPointError(
                f"training diverged after {self._told} evaluations: try a smaller learning rate"
            )
        self._updates += 1
        names = ("generator loss", "discriminator loss", "valuer loss", "told apart")
        self._fit_stats = dict(zip(names, (total / options.steps).tolist(), strict=True))

    def _target(self, score: Float[Tensor, " told"], strong: int) -> Float[Tensor, " told"]:
        """Return what the valuer is to say of architectures, which come best first."""
        if self.options.three_way.valuer == "regression":
            return normal_scores(score).float()
        return (torch.arange(len(score)) < strong).float()

    def _rows(self, strong: int, told: int, rng: torch.Generator) -> Int[Tensor, " batch"]:
        """Draw a batch, with replacement: some from the strong ones, the others from all."""
        size = self.options.batch_size
        tilted = round(self.options.tilt * size)
        best = torch.randint(strong, (tilted,), generator=rng)
        return torch.cat([best, torch.randint(told, (size - tilted,), generator=rng)])

    def _generate(self, n: int, rng: torch.Generator) -> Proposals:
        """Sample the generator, hotter and hotter if need be, taking down how it did."""
        generator, fresh = self._model.generator, self._fresh
        assert isinstance(generator, Differentiable)
        drawn, invalid, repeated = fresh.drawn, fresh.invalid, fresh.repeated
        found, entropy = [Proposals(fresh.none(), ())], list[float]()

        def draw(m: int) -> Proposals:
            with torch.no_grad():
                made = generator.draw(m, rngs=[rng], temperature=temperature, entropy=True)
            assert made.entropy is not None
            entropy.append(float(made.entropy.mean()))
            return Proposals.of(made.archs(), "generator")

        missing = n
        for heating in range(_HEATINGS + 1):
            temperature = self.options.temperature * _HEAT**heating
            found.append(fresh.fill(missing, draw, max_draws=_DRAWS))
            missing -= len(found[-1])
        if drawn := fresh.drawn - drawn:
            valid = drawn - (fresh.invalid - invalid)
            self._ask_stats = {
                "valid": valid / drawn,
                "repeats": float(fresh.repeated - repeated),
                "entropy": entropy[0],
            }
        return Proposals.cat(found)

    def state_dict(self) -> dict[str, Any]:
        """Return the three networks, their optimisers, what was told and seen, and counters."""
        return {
            "counters": [self._told, self._updates, self._fallback],
            "model": _copy(self._model.state_dict()),
            "buffer": self._buffer.state_dict(),
            "fresh": self._fresh.state_dict(),
            "stats": {"ask": dict(self._ask_stats), "fit": dict(self._fit_stats)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._told, self._updates, self._fallback = state["counters"]
        self._model.load_state_dict(state["model"])
        self._buffer.load_state_dict(state["buffer"])
        self._fresh.load_state_dict(state["fresh"])
        self._ask_stats = dict(state["stats"]["ask"])
        self._fit_stats = dict(state["stats"]["fit"])

    def stats(self) -> dict[str, float]:
        """Return what is worth plotting; what is not known yet is left out.

        "epsilon"; "fallback", proposals so far that the generator owed; "valid", "repeats" and
        "entropy" (nats per graph): of the generator's draws in the last `ask` in which it had a
        share; "generator loss", "discriminator loss", "valuer loss" and "told apart" (share of
        graphs that the discriminator is right about): means over the last update.
        """
        stats = {"epsilon": self.options.epsilon(self._told), "fallback": float(self._fallback)}
        return stats | self._ask_stats | self._fit_stats


def _copy(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree of tensors that nothing goes on using."""
    return {k: _copy(v) if isinstance(v, dict) else v.clone() for k, v in tree.items()}
