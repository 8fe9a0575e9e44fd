"""Message passing with attention over many small graphs at once, nodes packed into rows."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.nn.difference import DifferenceMLP

#: One-hot direction of a message: along the edge, against it, from the node to itself.
ALONG, AGAINST, SELF = 0, 1, 2


class AttentionMessagePassing(nn.Module):
    r"""Rounds of message passing with shared weights ([GraphPNAS] eq. 7-10).

    Nodes of all graphs are the rows of one matrix; an edge is a pair of row numbers, so nothing
    is padded and graphs of any sizes mix. Every node is its own neighbour.

    Args:
        hidden: Size of a node's state and of a message.
        features: Size of the constant features $u$ that attention sees besides the state.
        rounds: Number of rounds $S$.
    """

    def __init__(self, hidden: int, features: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.message = DifferenceMLP(hidden, hidden, hidden, pair_features=3)
        self.attention = DifferenceMLP(hidden + features, hidden, 1)
        self.update = nn.GRUCell(hidden, hidden)

    def forward(
        self,
        state: Float[Tensor, "row hidden"],
        features: Float[Tensor, "row feature"],
        source: Int[Tensor, " edge"],
        target: Int[Tensor, " edge"],
    ) -> Float[Tensor, "row hidden"]:
        """Return the states after all rounds.

        Args:
            state: Initial states $h^0$.
            features: Constant features $u$.
            source: Row of each edge's first node.
            target: Row of its second node; messages travel both ways.
        """
        f, g, cell = self.message, self.attention, self.update
        size, rows = state.shape[1], len(state)
        # Messages along all edges, then against all: twice the same edges, with a sign.
        sign = state.new_tensor([1.0, -1.0]).view(2, 1, 1)
        receiver = torch.cat([target, source])
        direction = f.pair_bias(torch.eye(3, dtype=state.dtype, device=state.device))
        ways = direction[:SELF, None]
        # u does not change over the rounds, so its share of eq. 8-9 is computed once.
        known = nn.functional.linear(features, g.first.weight[:, size:])
        known = g.first.bias + sign * (known[target] - known[source])
        state_to_attention = g.first.weight[:, :size]
        # The difference of a node to itself is zero, so its message to itself is a constant.
        own_weight = torch.sigmoid(g.second(torch.relu(g.first.bias)))
        own_message = own_weight * torch.relu(direction[SELF])
        # The second layer of f runs after the sum of eq. 10, since a is a scalar, and the input
        # weights of the GRU follow at once: one matrix for both.
        receive = cell.weight_ih @ f.second.weight
        receive_bias = cell.weight_ih @ f.second.bias

        def change(row: Tensor) -> Tensor:
            return row.index_select(0, target).sub_(row.index_select(0, source))

        for _ in range(self.rounds):
            # eq. 7, its second layer below
            message = torch.addcmul(ways, sign, change(f.project(state))).relu_()
            seen = nn.functional.linear(state, state_to_attention)
            weight = torch.addcmul(known, sign, change(seen)).relu_()  # eq. 8
            weight = torch.sigmoid(g.second(weight))  # eq. 9
            summed = own_message.expand(rows, size).index_add(
                0, receiver, (weight * message).flatten(0, 1)
            )
            total = own_weight.expand(rows).index_add(0, receiver, weight.flatten())
            received = nn.functional.linear(summed, receive, cell.bias_ih).addr(total, receive_bias)
            state = self._gru(state, received)  # eq. 10
        return state

    def _gru(
        self, state: Float[Tensor, "row hidden"], of_input: Float[Tensor, "row gates"]
    ) -> Float[Tensor, "row hidden"]:
        """`nn.GRUCell`, given the input times its weights; the original is not fused on a CPU."""
        cell, size = self.update, state.shape[1]
        of_state = nn.functional.linear(state, cell.weight_hh, cell.bias_hh)
        # Splits, not slices: their gradients are put together in one operation.
        gates_of_input, of_input = of_input.split([2 * size, size], dim=1)
        gates_of_state, of_state = of_state.split([2 * size, size], dim=1)
        reset, keep = torch.sigmoid(gates_of_input + gates_of_state).chunk(2, dim=1)
        return torch.lerp(torch.tanh(torch.addcmul(of_input, reset, of_state)), state, keep)
