"""Message passing along a DAG and against it into one state, as in DGMG ([Li2018])."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from netwright.nn.propagation import gru


class JointPropagation(nn.Module):
    r"""Rounds of message passing in which a node adds up messages of both directions.

    $$a_v = \sum_{u \to v} f(h_u, h_v) + \sum_{v \to u} f'(h_u, h_v), \qquad
      h_v \leftarrow \mathrm{GRU}(h_v, a_v)$$

    with one linear layer for $f$ and one for $f'$ per round, as in the released code of SVGe.

    Args:
        size: Size of a node's state; messages are twice as long.
        rounds: Number of rounds.
    """

    def __init__(self, size: int, rounds: int) -> None:
        super().__init__()
        self.size, self.rounds = size, rounds
        self.along = nn.ModuleList(nn.Linear(2 * size, 2 * size) for _ in range(rounds))
        self.against = nn.ModuleList(nn.Linear(2 * size, 2 * size) for _ in range(rounds))
        self.update = nn.ModuleList(nn.GRUCell(2 * size, size) for _ in range(rounds))

    def merged(self) -> tuple[Tensor, ...]:
        """Return the weights of each round's messages, those of both kinds one above the other."""
        both = [
            torch.cat([layer.weight, layer.bias[:, None]], dim=1)
            for pair in zip(self.along, self.against, strict=True)
            for layer in pair
            if isinstance(layer, nn.Linear)
        ]
        weights: Tensor = torch.stack(both).unflatten(0, (self.rounds, 2))
        return weights.mT.flatten(1, 2).unbind(0)

    def forward(
        self,
        state: Float[Tensor, "batch node size"],
        adj: Bool[Tensor, "batch node node"],
        weights: tuple[Tensor, ...] | None = None,
    ) -> Float[Tensor, "batch node size"]:
        """Return the states of all nodes after all rounds.

        Args:
            state: Before.
            adj: Adjacency matrices.
            weights: What `merged` returned, if it has been called before.
        """
        of_messages = self.merged() if weights is None else weights
        edges = adj.to(state.dtype)
        ways = (edges.mT, edges)  # [node, sender]
        degrees = [way.sum(dim=2, keepdim=True) for way in ways]
        for weight, cell in zip(of_messages, self.update, strict=True):
            assert isinstance(cell, nn.GRUCell)
            parts = []
            for way, degree in zip(ways, degrees, strict=True):
                # A linear layer of [h_u, h_v], summed over the senders u.
                parts += [torch.bmm(way, state), degree * state, degree]
            messages = torch.cat(parts, dim=2).flatten(0, 1) @ weight
            flat = state.flatten(0, 1)
            of_input = nn.functional.linear(messages, cell.weight_ih, cell.bias_ih)
            of_state = nn.functional.linear(flat, cell.weight_hh, cell.bias_hh)
            state = gru(flat, of_input, of_state).view_as(state)
        return state
