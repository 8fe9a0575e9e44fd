"""The rounds of message passing with one gate per edge, as one differentiable operation.

Forward and backward pass are written out: half as many operations as automatic differentiation
would start, which is what small graphs cost, and no intermediate copies.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Routes:
    """Who sends to whom: every edge carries two messages, first all along, then all against.

    Attributes:
        replicas: Number of replicas, each with an equal share of the edges, in order.
        source: Row of each edge's first node.
        target: Row of its second node.
        receiver: Row that gets each message; per replica first those along its edges.
        order: Messages in the order of their receivers.
        start: Where each row's messages begin in ``order``.
        edge: Edge of each message in ``order``.
        against: Whether each message in ``order`` goes against its edge.
    """

    replicas: int
    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    receiver: Int[Tensor, " message"]
    order: Int[Tensor, " message"]
    start: Int[Tensor, " row"]
    edge: Int[Tensor, " message"]
    against: Bool[Tensor, " message"]

    @classmethod
    def of(
        cls, source: Int[Tensor, " edge"], target: Int[Tensor, " edge"], replicas: int, rows: int
    ) -> "Routes":
        """Sort the messages of edges among ``rows`` rows."""
        ways = (target.view(replicas, -1), source.view(replicas, -1))
        receiver = torch.stack(ways, dim=1).flatten()
        count = receiver.bincount(minlength=rows)
        order, share = receiver.argsort(), max(1, len(source) // replicas)
        way, edge = order // share, order % share
        return cls(
            replicas,
            source,
            target,
            receiver,
            order,
            count.cumsum(0) - count,
            way // 2 * share + edge,
            way % 2 == 1,
        )

    def sign(self, like: Tensor) -> Tensor:
        """What a difference along an edge is multiplied by for both of its messages."""
        return like.new_tensor([1.0, -1.0]).view(2, 1, 1)

    def gather(
        self, values: Float[Tensor, "message size"], weight: Float[Tensor, " message"]
    ) -> Float[Tensor, "row size"]:
        """Return for each row the weighted sum of what it receives."""
        return self._bags(values, self.order, weight.index_select(0, self.order))

    def scatter(self, values: Float[Tensor, "edge size"]) -> Float[Tensor, "row size"]:
        """Add each edge's value to its target and take it from its source."""
        return self._bags(values, self.edge, 1.0 - 2.0 * self.against.to(values.dtype))

    def _bags(self, values: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        if not len(index):
            return values.new_zeros(len(self.start), values.shape[1])
        # Twice as fast as `index_add`, the product with the weights included.
        bags: Tensor = torch.embedding_bag(values, index, self.start, False, 0, False, weight)[0]
        return bags


def gru(
    state: Float[Tensor, "row hidden"],
    of_input: Float[Tensor, "row gates"],
    of_state: Float[Tensor, "row gates"],
) -> Float[Tensor, "row hidden"]:
    """`nn.GRUCell`, given input and state times their weights, biases added."""
    size = state.shape[1]
    of_input, of_state = of_input.to(state.dtype), of_state.to(state.dtype)  # from autocast
    gates_of_input, of_input = of_input.split([2 * size, size], dim=1)
    gates_of_state, of_state = of_state.split([2 * size, size], dim=1)
    reset, keep = torch.sigmoid(gates_of_input + gates_of_state).chunk(2, dim=1)
    return torch.lerp(torch.tanh(torch.addcmul(of_input, reset, of_state)), state, keep)


#: Tensors that the backward pass needs of each round.
_SAVED = 10


class Propagate(torch.autograd.Function):
    """All rounds of `AttentionMessagePassing` with a scalar gate ([GraphPNAS] eq. 7-10).

    Tensors with an axis ``round`` have one entry, or one per round. Everything but ``options`` is
    differentiable, once.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 (every one is a factor of the formula)
        ctx: Any,
        options: tuple[Routes, int, bool],
        state: Float[Tensor, "row hidden"],
        f: Float[Tensor, "round replica 2 _ hidden"],
        g: Float[Tensor, "round replica 2 _ hidden"],
        weights: Float[Tensor, "replica round hidden five_hidden"],
        bias: Float[Tensor, "replica round rows five_hidden"],
        gate_out: Float[Tensor, "replica round hidden"],
        gate_bias: Float[Tensor, "replica round"],
        receive: Float[Tensor, "replica round hidden gates"],
        receive_own: Float[Tensor, "replica round gates"],
        receive_bias: Float[Tensor, "replica round gates"],
        start: Float[Tensor, "replica round hidden"],
        total: Float[Tensor, "replica round"],
    ) -> Float[Tensor, "row hidden"]:
        """Return the states after all rounds.

        Args:
            ctx: Autograd's.
            options: Routes, number of rounds, and whether a ReLU follows each round but the last.
            state: Initial states.
            f: What the first layer of messages adds to the difference of two nodes.
            g: The same of gates.
            weights: First layers of messages and gates, and the GRU's weights of the state.
            bias: Added to states times ``weights``, row by row.
            gate_out: Second layer of gates.
            gate_bias: Its bias.
            receive: Second layer of messages times the GRU's weights of the input.
            receive_own: The GRU's bias of the input.
            receive_bias: The bias of the messages' second layer times the GRU's weights.
            start: Gate times hidden layer of the message from a node to itself.
            total: The gate of that message.
        """
        routes, rounds, relu = options
        replicas, n, size = weights.shape[:3]
        sign = routes.sign(state)
        saved = []
        for r in range(rounds):
            k = r % n
            projected = torch.baddbmm(
                bias[:, k], state.view(replicas, -1, size), weights[:, k]
            ).flatten(0, 1)
            ends = projected[:, : 2 * size]
            change = ends.index_select(0, routes.target).sub_(ends.index_select(0, routes.source))
            change = change.view(replicas, 1, -1, 2 * size)
            message = torch.addcmul(f[k], sign, change[..., :size]).relu_()  # eq. 7, first layer
            hidden = torch.addcmul(g[k], sign, change[..., size:]).relu_()  # eq. 8
            logit = torch.linalg.vecdot(hidden, gate_out[:, k, None, None])
            gate = logit.add_(gate_bias[:, k, None, None]).sigmoid_().flatten()  # eq. 9
            summed = routes.gather(message.view(-1, size), gate).view(replicas, -1, size)
            summed += start[:, k, None]
            gates = total[:, k, None].repeat(1, summed.shape[1])
            gates.view(-1).index_add_(0, routes.receiver, gate)
            of_input = torch.baddbmm(receive_own[:, k, None], summed, receive[:, k])
            of_input = of_input.addcmul_(gates[..., None], receive_bias[:, k, None]).flatten(0, 1)
            # eq. 10, as `gru`, whose parts the backward pass needs
            candidate = projected[:, 4 * size :]
            reset, keep = (
                torch.add(of_input[:, : 2 * size], projected[:, 2 * size : 4 * size])
                .sigmoid_()
                .chunk(2, dim=1)
            )
            new = torch.addcmul(of_input[:, 2 * size :], reset, candidate).tanh_()
            saved += [state, message, hidden, gate, summed, gates, candidate, reset, keep, new]
            state = torch.lerp(new, state, keep)
            if relu and r < rounds - 1:
                state = state.relu_()
        ctx.options, ctx.shared = options, (f.shape[3] == 1, g.shape[3] == 1)
        ctx.save_for_backward(weights, gate_out, receive, receive_bias, *saved)
        return state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "row hidden"]) -> tuple[Tensor | None, ...]:
        """Return the gradients of `forward`'s arguments."""
        routes, rounds, relu = ctx.options
        weights, gate_out, receive, receive_bias, *saved = ctx.saved_tensors
        replicas, n, size = weights.shape[:3]
        ways = (replicas, 2, -1, size)
        d_f: dict[int, Tensor] = {}
        d_g: dict[int, Tensor] = {}
        d_bias: dict[int, Tensor] = {}
        d_weights, d_receive = torch.zeros_like(weights), torch.zeros_like(receive)
        d_gate_out, d_receive_bias = torch.zeros_like(gate_out), torch.zeros_like(receive_bias)
        d_gate_bias, d_total = (weights.new_zeros(replicas, n) for _ in range(2))
        d_receive_own = torch.zeros_like(receive_bias)
        d_start = torch.zeros_like(gate_out)
        after: Tensor | None = None
        for r in reversed(range(rounds)):
            k = r % n
            parts = saved[r * _SAVED : (r + 1) * _SAVED]
            state, message, hidden, gate, summed, gates, candidate, reset, keep, new = parts
            if relu and after is not None:
                grad = grad * (after > 0)
            after = state
            # eq. 10: the GRU
            of_input = torch.empty(len(state), 3 * size, dtype=grad.dtype, device=grad.device)
            d_reset, d_keep, d_new = of_input.split(size, dim=1)
            through = grad * keep
            torch.sub(grad, through, out=d_new).addcmul_(d_new * new, new, value=-1)
            torch.mul(state - new, through, out=d_keep).mul_(1 - keep)
            d_candidate = d_new * reset
            torch.mul(d_candidate, candidate, out=d_reset).mul_(1 - reset)
            by_replica = of_input.view(replicas, -1, 3 * size)
            d_receive[:, k].baddbmm_(summed.mT, by_replica)
            d_receive_own[:, k] += by_replica.sum(dim=1)
            d_receive_bias[:, k] += torch.bmm(gates[:, None], by_replica)[:, 0]
            # eq. 10: the sum
            d_summed = torch.bmm(by_replica, receive[:, k].mT)
            d_gates = torch.linalg.vecdot(by_replica, receive_bias[:, k, None])
            d_start[:, k] += d_summed.sum(dim=1)
            d_total[:, k] += d_gates.sum(dim=1)
            received = d_summed.view(-1, size).index_select(0, routes.receiver)
            d_gate = torch.linalg.vecdot(received, message.view(-1, size))
            d_gate += d_gates.view(-1).index_select(0, routes.receiver)
            d_message = received.mul_(gate[:, None]).view(ways)
            d_message = torch.ops.aten.threshold_backward(d_message, message, 0)
            # eq. 8-9
            d_logit = d_gate.mul_(gate).mul_(1 - gate).view(replicas, 1, -1)
            d_gate_out[:, k] += torch.bmm(d_logit, hidden.flatten(1, 2))[:, 0]
            d_gate_bias[:, k] += d_logit.sum(dim=(1, 2))
            d_hidden = d_logit.view(replicas, 2, -1, 1) * gate_out[:, k, None, None]
            d_hidden = torch.ops.aten.threshold_backward(d_hidden, hidden, 0)
            for found, share, grads in zip(
                (d_message, d_hidden), ctx.shared, (d_f, d_g), strict=True
            ):
                _add(grads, k, found.sum(dim=2, keepdim=True) if share else found)
            # Differences of states, and the states themselves.
            projected = torch.empty(len(state), 5 * size, dtype=grad.dtype, device=grad.device)
            projected[:, :size] = routes.scatter((d_message[:, 0] - d_message[:, 1]).view(-1, size))
            projected[:, size : 2 * size] = routes.scatter(
                (d_hidden[:, 0] - d_hidden[:, 1]).view(-1, size)
            )
            projected[:, 2 * size : 4 * size] = of_input[:, : 2 * size]
            projected[:, 4 * size :] = d_candidate
            projected = projected.view(replicas, -1, 5 * size)
            d_weights[:, k].baddbmm_(state.view(replicas, -1, size).mT, projected)
            _add(d_bias, k, projected)
            grad = torch.bmm(projected, weights[:, k].mT).view(-1, size).add_(through)
        return (
            None, grad, _by_round(d_f, 0), _by_round(d_g, 0), d_weights, _by_round(d_bias, 1),
            d_gate_out, d_gate_bias, d_receive, d_receive_own, d_receive_bias, d_start, d_total,
        )  # fmt: skip


def _add(sums: dict[int, Tensor], k: int, term: Tensor) -> None:
    """Add a term that nobody else will read to a sum."""
    sums[k] = sums[k].add_(term) if k in sums else term


def _by_round(sums: dict[int, Tensor], dim: int) -> Tensor:
    if len(sums) == 1:
        return sums[0].unsqueeze(dim)
    return torch.stack([sums[k] for k in sorted(sums)], dim=dim)
