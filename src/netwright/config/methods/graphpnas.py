"""The settings of GraphPNAS."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from netwright.config.base import merge
from netwright.config.methods.parts import PolicySearchConfig, insist_there, make_reinforce
from netwright.generators.graphpnas import GraphPNAS
from netwright.graphs.layout import Layout
from netwright.searchers.policy_gradient import Policy
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.base import SearchSpace

#: What the paper's released code does otherwise; the numbers are those for NAS-Bench-101.
RELEASED: dict[str, Any] = {
    "variant": "released",
    "hidden": 24,
    "explorer": {"sizes": "uniform"},
    "epsilon": {"name": "step", "start": 1.0, "factor": 0.0, "over": 30},
    "coin": "step",
    "capacity": 15,
    "clip": 0.0,
    "reward": "rank",
    "likelihood": "normalised",
    "refit": True,
}


class GraphPNASConfig(PolicySearchConfig):
    """GraphPNAS; the defaults are the paper's for NAS-Bench-101.

    ``preset = "released"`` changes the defaults to `RELEASED`.
    """

    name: Literal["graphpnas"] = "graphpnas"
    preset: Literal["paper", "released"] = "paper"
    variant: Literal["paper", "released"] = "paper"
    hidden: int = Field(128, ge=1)
    rounds: int = Field(7, ge=1)
    mixtures: int = Field(10, ge=1)
    gate: Literal["scalar", "vector"] | None = None  # that of the variant
    feedback: bool | None = None  # the network sees operations drawn before; as in the variant

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Let the preset give what is not given."""
        if isinstance(values, Mapping) and values.get("preset") == "released":
            return merge(RELEASED, values)
        return values


_OF_GENERATOR = ("hidden", "rounds", "mixtures", "variant", "gate", "feedback")


def make(config: GraphPNASConfig, space: SearchSpace, *, rng: torch.Generator) -> Reinforce:
    """Build the search.

    Raises:
        ValueError: If a setting does not fit the space.
    """
    insist_there(config.device)
    options = {name: getattr(config, name) for name in _OF_GENERATOR}

    def policy(layout: Layout, *, rng: torch.Generator) -> Policy:
        # its first parameters are the same on all devices
        return GraphPNAS(layout, rng=rng, **options).to(config.device)

    return make_reinforce(config, space, policy, rng=rng)
