"""Message passing with attention over many small graphs at once, nodes packed into rows."""

from itertools import cycle, islice
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.nn.propagation import Propagate, Routes, gru
from netwright.nn.replicas import uniform

Gate = Literal["scalar", "vector"]


class AttentionMessagePassing(nn.Module):
    r"""Rounds of message passing over undirected edges ([GraphPNAS] eq. 7-10).

    A message is $f([h_i - h_j, k_{ij}])$ and its gate $\sigma(g([h_i - h_j, u_i - u_j]))$ with
    two-layer perceptrons $f$ and $g$, $k$ being the one-hot kind of the message. Their first
    layers are linear, so they are applied to nodes and the difference is taken afterwards:
    the matrix work grows with the nodes, not with the edges. Where the gate is one number per
    edge, the second layer of $f$ runs after the sum of eq. 10 and merges with the input weights of
    the GRU.

    Args:
        hidden: Size of a node's state and of a message.
        features: Size of the constant features $u$.
        rounds: Number of rounds $S$.
        gate: "scalar", one number per edge, or "vector", one per element of the message.
        tied: Whether all rounds share their weights.
        kinds: Number of kinds of messages.
        own: Kind of the message from a node to itself; None if there is none.
        symmetric: Whether $f$ and $g$ both see $u$ and the kind of the message.
        relu: Whether states pass a ReLU between rounds.
    """

    def __init__(
        self,
        hidden: int,
        features: int,
        rounds: int,
        *,
        gate: Gate = "scalar",
        tied: bool = True,
        kinds: int = 3,
        own: int | None = 2,
        symmetric: bool = False,
        relu: bool = False,
    ) -> None:
        super().__init__()
        self.hidden, self.rounds, self.gate = hidden, rounds, gate
        self.own, self.symmetric, self.relu = own, symmetric, relu
        n = 1 if tied else rounds
        f_in = hidden + kinds + (features if symmetric else 0)
        g_in = hidden + features + (kinds if symmetric else 0)
        both = 2 if symmetric else 1
        # First layers, f beside g where both have such weights.
        self.message_bias = uniform(n, hidden, fan_in=f_in)
        self.attention_bias = uniform(n, hidden, fan_in=g_in)
        self.of_kind = uniform(n, kinds, both * hidden, fan_in=f_in)
        self.of_features = uniform(n, features, both * hidden, fan_in=g_in)
        # Second layers.
        width = 1 if gate == "scalar" else hidden
        self.message_out = uniform(n, hidden, hidden, fan_in=hidden)
        self.message_out_bias = uniform(n, hidden, fan_in=hidden)
        self.attention_out = uniform(n, hidden, width, fan_in=hidden)
        self.attention_out_bias = uniform(n, width, fan_in=hidden)
        # All that states are multiplied by: first layers of f and g, then the GRU's reset and
        # update gates and its candidate.
        parts = [uniform(n, hidden, hidden, fan_in=size) for size in (f_in, g_in)]
        parts += [uniform(n, hidden, 3 * hidden, fan_in=hidden)]
        self.of_state = nn.Parameter(torch.cat([part.detach() for part in parts], dim=3))
        self.of_state_bias = uniform(n, 3 * hidden, fan_in=hidden)
        self.of_input = uniform(n, hidden, 3 * hidden, fan_in=hidden)
        self.of_input_bias = uniform(n, 3 * hidden, fan_in=hidden)

    def forward(
        self,
        state: Float[Tensor, "row hidden"],
        features: Float[Tensor, "row feature"],
        source: Int[Tensor, " edge"],
        target: Int[Tensor, " edge"],
        along: Int[Tensor, " edge"] | None = None,
        against: Int[Tensor, " edge"] | None = None,
    ) -> Float[Tensor, "row hidden"]:
        """Return the states after all rounds.

        With several replicas, each has an equal share of the rows and of the edges, in order.

        Args:
            state: Initial states $h^0$.
            features: Constant features $u$.
            source: Row of each edge's first node.
            target: Row of its second node; messages travel both ways.
            along: Kind of the message from source to target; 0 for all if None.
            against: Kind of the message from target to source; 1 for all if ``along`` is None.
        """
        replicas = self.of_state.shape[0]
        routes = Routes.of(source, target, replicas, len(state))
        kind = None
        if along is not None and against is not None:
            kind = torch.stack([along.view(replicas, -1), against.view(replicas, -1)], dim=1)
        f, g = self._of_kinds(kind)
        run = self._scalar if self.gate == "scalar" else self._vector
        return run(state, routes, f, g, self._of_rows(features))

    def _of_kinds(self, kind: Int[Tensor, "replica way edge"] | None) -> tuple[Tensor, Tensor]:
        """What the first layers add to the difference of two nodes.

        Returns:
            Of messages and of gates, each ``[round, replica, way, edge, hidden]``, or one for all
            edges where it is the same.
        """
        replicas, n, kinds, both = self.of_kind.shape
        of_kind = self.of_kind.transpose(0, 1)  # [round, replica, kind, *]
        if kind is None:
            of_kind = of_kind[:, :, :2, None]
        else:
            first = torch.arange(replicas, device=kind.device)[:, None] * kinds
            index = (first + kind.flatten(1)).view(-1)
            of_kind = of_kind.reshape(n, replicas * kinds, both).index_select(1, index)
            of_kind = of_kind.view(n, *kind.shape, both)
        bias_f = self.message_bias.transpose(0, 1)[:, :, None, None]
        bias_g = self.attention_bias.transpose(0, 1)[:, :, None, None]
        if not self.symmetric:
            return of_kind + bias_f, bias_g.expand(n, replicas, 2, 1, self.hidden)
        f, g = of_kind.chunk(2, dim=-1)
        return f + bias_f, g + bias_g

    def _of_rows(
        self, features: Float[Tensor, "row feature"]
    ) -> Float[Tensor, "replica round share five_hidden"]:
        """What is added to states times their weights: that of features, and the GRU's bias.

        A difference of two nodes is one of all that is known of them, so features are added to
        nodes, not to edges.
        """
        replicas = self.of_state.shape[0]
        rows = features.view(replicas, 1, -1, features.shape[1])
        seen = rows @ self.of_features
        if not self.symmetric:
            seen = torch.cat([torch.zeros_like(seen), seen], dim=3)
        gates = self.of_state_bias[:, :, None].expand(*seen.shape[:3], 3 * self.hidden)
        return torch.cat([seen, gates], dim=3)

    def _own(self, k: int) -> tuple[Tensor, Tensor] | None:
        """Message and gate from every node to itself: the difference of a node to itself is 0."""
        if self.own is None:
            return None
        of_kind = self.of_kind[:, k, self.own]
        f, g = of_kind[:, : self.hidden], of_kind[:, self.hidden :] if self.symmetric else 0.0
        message = torch.relu(self.message_bias[:, k] + f)
        hidden = torch.relu(self.attention_bias[:, k] + g)
        logit = torch.bmm(hidden[:, None], self.attention_out[:, k])[:, 0]
        return message, torch.sigmoid(logit + self.attention_out_bias[:, k])

    def _scalar(self, state: Tensor, routes: Routes, f: Tensor, g: Tensor, bias: Tensor) -> Tensor:
        n = self.of_state.shape[1]
        # The second layer of f and the input weights of the GRU: one matrix for both.
        receive = self.message_out @ self.of_input
        receive_bias = (self.message_out_bias[:, :, None] @ self.of_input)[:, :, 0]
        own = [self._own(k) for k in range(n)]
        if own[0] is None:
            start = torch.zeros_like(self.message_bias)
            total = torch.zeros_like(self.attention_out_bias[:, :, 0])
        else:
            pairs = [pair for pair in own if pair is not None]
            start = torch.stack([gate * message for message, gate in pairs], dim=1)
            total = torch.stack([gate[:, 0] for _, gate in pairs], dim=1)
        options: Any = (routes, self.rounds, self.relu)
        out: Tensor = Propagate.apply(  # type: ignore[no-untyped-call]
            options, state, f, g, self.of_state, bias,
            self.attention_out[..., 0], self.attention_out_bias[..., 0],
            receive, self.of_input_bias, receive_bias, start, total,
        )  # fmt: skip
        return out

    def _vector(self, state: Tensor, routes: Routes, f: Tensor, g: Tensor, bias: Tensor) -> Tensor:
        replicas, n, size = *self.of_state.shape[:2], self.hidden
        sign = routes.sign(state)
        # Taken apart once: the gradient of a part taken by its index is as large as the whole.
        by_round = zip(
            f.unbind(0),
            g.unbind(0),
            bias.unbind(1),
            self.of_state.unbind(1),
            self.message_out.unbind(1),
            self.message_out_bias[:, :, None].unbind(1),
            self.attention_out.unbind(1),
            self.attention_out_bias[:, :, None].unbind(1),
            self.of_input.unbind(1),
            self.of_input_bias[:, :, None].unbind(1),
            [self._own(k) for k in range(n)],
            strict=True,
        )
        for r, (f_r, g_r, known, w, w_f, b_f, w_g, b_g, w_i, b_i, own) in enumerate(
            islice(cycle(by_round), self.rounds)
        ):
            projected = torch.baddbmm(known, state.view(replicas, -1, size), w).flatten(0, 1)
            ends, of_state = projected.split([2 * size, 3 * size], dim=1)
            change = ends.index_select(0, routes.target) - ends.index_select(0, routes.source)
            of_f, of_g = change.view(replicas, 1, -1, 2 * size).chunk(2, dim=3)
            hidden_f = torch.addcmul(f_r, sign, of_f).relu().flatten(1, 2)
            hidden_g = torch.addcmul(g_r, sign, of_g).relu().flatten(1, 2)
            message = torch.baddbmm(b_f, hidden_f, w_f)  # eq. 7
            gate = torch.sigmoid(torch.baddbmm(b_g, hidden_g, w_g))  # eq. 8-9
            summed = torch.zeros_like(state).index_add(
                0, routes.receiver, (gate * message).flatten(0, 1)
            )
            summed = summed.view(replicas, -1, size)
            if own is not None:
                to_itself, own_gate = own
                summed = summed + own_gate[:, None] * torch.baddbmm(b_f, to_itself[:, None], w_f)
            of_input = torch.baddbmm(b_i, summed, w_i).flatten(0, 1)
            state = gru(state, of_input, of_state)  # eq. 10
            if self.relu and r < self.rounds - 1:
                state = state.relu()
        return state
