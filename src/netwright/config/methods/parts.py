"""Settings that several search methods have in common, and what is made of them."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings, Strict
from netwright.generators.blocks import Blocks
from netwright.generators.random_graph import RandomGraph
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.reinforce import MakePolicy, Reinforce, ReinforceOptions
from netwright.searchers.schedules import Constant, Exponential, Linear, Schedule, Steps
from netwright.spaces.base import SearchSpace


class ScheduleConfig(Strict):
    """A number that changes with the evaluations told.

    "linear" from ``start`` to ``end`` over ``over`` evaluations; "step" is ``start``, times
    ``factor`` every ``over``; "exponential" is ``start``, halved every ``over``; "constant" is
    ``start``.
    """

    name: Literal["linear", "step", "exponential", "constant"] = "linear"
    start: float = Field(1.0, ge=0, le=1)
    end: float = Field(0.0, ge=0, le=1)
    over: int = Field(30, ge=1)
    factor: float = Field(0.0, ge=0, le=1)


class ExplorerConfig(Strict):
    """The random graphs that the explorer draws ([GraphPNAS] section 3.2)."""

    model: Literal["er", "ws", "ba"] = "er"
    # Edge (er) or rewiring (ws) probability, neighbours on the ring (ws); or ranges of them.
    p: Annotated[float, Field(ge=0, le=1)] | tuple[float, float] = 0.25
    k: Annotated[int, Field(ge=2)] | tuple[int, int] = 4
    m: int = Field(2, ge=1)  # edges of a new node (ba)
    sizes: Literal["full", "uniform"] = "full"
    without: tuple[str, ...] = ()  # operations it never draws, by name


class PolicySearchConfig(NamedSettings):
    """The policy-gradient loop around a generator; the defaults are [GraphPNAS]'s.

    See `netwright.searchers.reinforce.ReinforceOptions` and
    `netwright.searchers.policy_gradient.FitOptions`.
    """

    explorer: ExplorerConfig = ExplorerConfig()
    epsilon: ScheduleConfig = ScheduleConfig()  # the explorer's share
    coin: Literal["proposal", "step"] = "proposal"
    temperature: float = Field(1.0, gt=0)
    capacity: int = Field(30, ge=1)
    share: ScheduleConfig | None = None  # instead of capacity: the best share of all
    update_every: int = Field(10, ge=1)
    epochs: int = Field(70, ge=1)
    batch_size: int = Field(2, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    clip: float = Field(1.0, ge=0)  # 0: no limit
    beta: float = Field(0.05, ge=0)
    reward: Literal["standardised", "rank"] = "standardised"
    likelihood: Literal["graph", "normalised"] = "graph"
    probability: Literal["graph", "per_decision"] = "graph"
    train_on: Literal["pruned", "raw"] = "pruned"
    refit: bool = False
    per_cell: bool = False  # a generator for each cell, where a space has several
    device: str = "cpu"  # of the generator


def make_reinforce(
    config: PolicySearchConfig, space: SearchSpace, policy: MakePolicy, *, rng: torch.Generator
) -> Reinforce:
    """Build the policy-gradient loop around what ``policy`` makes.

    Raises:
        ValueError: If the explorer is not to draw an operation that is unknown, or if there is to
            be a generator for each cell of a space that has one.
    """
    fit = FitOptions(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        clip=config.clip or None,
        reward=config.reward,
        beta=config.beta,
        likelihood=config.likelihood,
        probability=config.probability,
    )
    options = ReinforceOptions(
        capacity=config.capacity,
        share=None if config.share is None else schedule(config.share),
        update_every=config.update_every,
        epsilon=schedule(config.epsilon),
        coin=config.coin,
        temperature=config.temperature,
        train_on=config.train_on,
        refit=config.refit,
        fit=fit,
    )
    drawn = explorer(config.explorer, space)
    if config.per_cell and len(space.layout.blocks()) < 2:
        raise ValueError(f"method.per_cell: architectures of {space.name} are of one part here")
    make = partial(Blocks, make=policy) if config.per_cell else policy
    return Reinforce(space, make, explorer=drawn, options=options, rng=rng)


def insist_there(device: str) -> None:
    """Insist that a device is on this machine.

    Raises:
        ValueError: If it is not.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"method.device: there is no {device} here, use cpu")


def schedule(config: ScheduleConfig) -> Schedule:
    """Build the schedule."""
    match config.name:
        case "linear":
            return Linear(config.start, config.end, over=config.over)
        case "step":
            return Steps(config.start, config.factor, every=config.over)
        case "exponential":
            return Exponential(config.start, half_life=config.over)
        case "constant":
            return Constant(config.start)


def op_weights(without: Sequence[str], space: SearchSpace, setting: str) -> list[float]:
    """Equal weights for all operations but those that are never to be drawn."""
    unknown = set(without) - set(space.op_names)
    if unknown:
        known = ", ".join(space.op_names)
        raise ValueError(f"{setting}: no operation {unknown.pop()!r} among {known}")
    return [float(name not in without) for name in space.op_names]


def explorer(config: ExplorerConfig, space: SearchSpace) -> RandomGraph:
    """Build the model of random graphs."""
    return RandomGraph(
        space.layout,
        model=config.model,
        p=config.p,
        k=config.k,
        m=config.m,
        sizes=config.sizes,
        op_weights=op_weights(config.without, space, "explorer.without"),
    )
