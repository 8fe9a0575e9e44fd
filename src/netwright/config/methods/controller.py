"""The settings of the recurrent controller."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from netwright.config.base import merge
from netwright.config.methods.parts import PolicySearchConfig, insist_there, make_reinforce
from netwright.generators.rnn import Recurrent
from netwright.graphs.layout import Layout
from netwright.searchers.policy_gradient import Policy
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.base import SearchSpace

#: The loop that was found best for GraphPNAS on tabular benchmarks, so that the two differ in the
#: generator only. On NAS-Bench-101 GraphPNAS's explorer has p = 0.5 besides.
BEST: dict[str, Any] = {
    "capacity": 15,
    "update_every": 5,
    "refit": True,
    "batch_size": 5,
    "epochs": 40,
    "learning_rate": 5e-3,
    "epsilon": {"name": "step", "start": 1.0, "factor": 0.0, "over": 10},
}


class ControllerConfig(PolicySearchConfig):
    """The recurrent controller, trained as GraphPNAS is: "RNN (RL)" in [GraphPNAS] table 4.

    The loop's defaults are the paper's for GraphPNAS on NAS-Bench-101, the controller's are
    ENAS's; the paper's released code has two layers of 128. ``preset = "best"`` changes the
    defaults to `BEST`.
    """

    name: Literal["rnn"] = "rnn"
    preset: Literal["paper", "best"] = "paper"
    hidden: int = Field(100, ge=1)
    layers: int = Field(1, ge=1)
    tanh_constant: float = Field(2.5, ge=0)  # largest size of a score; 0: no bound
    softmax_temperature: float = Field(5.0, gt=0)  # divides scores first

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Let the preset give what is not given."""
        if isinstance(values, Mapping) and values.get("preset") == "best":
            return merge(BEST, values)
        return values


def make(config: ControllerConfig, space: SearchSpace, *, rng: torch.Generator) -> Reinforce:
    """Build the search.

    Raises:
        ValueError: If a setting does not fit the space.
    """
    insist_there(config.device)

    def policy(layout: Layout, *, rng: torch.Generator) -> Policy:
        # its first parameters are the same on all devices
        return Recurrent(
            layout,
            hidden=config.hidden,
            layers=config.layers,
            tanh_constant=config.tanh_constant or None,
            softmax_temperature=config.softmax_temperature,
            rng=rng,
        ).to(config.device)

    return make_reinforce(config, space, policy, rng=rng)
