"""Message passing along a DAG and against it: a state for each of the two directions ([SVGe]).

A node's message is linear in the states of sender and receiver ([SVGe] eq. 2, "a single fully
connected layer"), so the sum over senders moves before the matrix product, and the product with
the weights of the GRU's input is merged with it. What is left per round is one sum over
neighbours and two matrix products for both directions together, which `_Rounds` carries out with
a backward pass of its own: half as many operations as automatic differentiation would start.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

#: Tensors that the backward pass needs of each round.
_SAVED = 4


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of all nodes of a batch, in both directions.

    A row is a node's state in one direction: row ``2 v`` along the edges, ``2 v + 1`` against.

    Attributes:
        senders: Rows that send along the edges, by receiver; then those that send against.
        start: Where the senders of each receiver begin.
        receivers: The same the other way round: rows that get something from each sender.
        receiver_start: Where the receivers of each sender begin.
        degree: Number of senders, per direction and node.
    """

    senders: Int[Tensor, " message"]
    start: Int[Tensor, " receiver"]
    receivers: Int[Tensor, " message"]
    receiver_start: Int[Tensor, " receiver"]
    degree: Float[Tensor, "2 node 1"]

    @classmethod
    def of(cls, adj: Bool[Tensor, "batch node node"]) -> "Neighbours":
        """Read adjacency matrices; nodes are numbered graph by graph."""
        graph, source, target = adj.nonzero(as_tuple=True)
        first = graph * adj.shape[1]
        source, target = first + source, first + target
        nodes = adj.shape[0] * adj.shape[1]
        into, out_of = (end.bincount(minlength=nodes) for end in (target, source))
        # `nonzero` lists edges by source; the other order has to be made.
        by_target = target.argsort(stable=True)
        start = torch.cat([into.cumsum(0) - into, out_of.cumsum(0) - out_of + len(source)])
        other = torch.cat([out_of.cumsum(0) - out_of, into.cumsum(0) - into + len(source)])
        return cls(
            torch.cat([2 * source[by_target], 2 * target + 1]),
            start,
            torch.cat([target, source[by_target] + nodes]),
            other,
            torch.stack([into, out_of]).to(torch.get_default_dtype())[..., None],
        )

    def gather(self, state: Float[Tensor, "node both"]) -> Float[Tensor, "2 node size"]:
        """Sum the states of the senders of each node, per direction."""
        nodes, size = state.shape[0], state.shape[1] // 2
        rows = state.view(2 * nodes, size)
        return _bags(rows, self.senders, self.start).view(2, nodes, size)

    def scatter(self, grad: Float[Tensor, "2 node size"]) -> Float[Tensor, "2 node size"]:
        """Give what each receiver got back to its senders: the adjoint of `gather`."""
        rows = grad.reshape(2 * grad.shape[1], grad.shape[2])
        return _bags(rows, self.receivers, self.receiver_start).view_as(grad)


def _bags(rows: Tensor, index: Tensor, start: Tensor) -> Tensor:
    if not len(index):
        return rows.new_zeros(len(start), rows.shape[1])
    # Five times as fast as a product with the adjacency matrices of graphs this small.
    bags: Tensor = torch.embedding_bag(rows, index, start, False, 0, False, None)[0]
    return bags


class TwoWayPropagation(nn.Module):
    r"""Rounds of message passing in both directions ([SVGe] eq. 2 and 3).

    Half of a node's state, $\vec h_v$, takes messages along the edges, the other half,
    $\overleftarrow h_v$, against them:

    $$\vec a_v = \sum_{u \to v} \vec f(\vec h_u, \vec h_v), \qquad
      \vec h_v \leftarrow \mathrm{GRU}(\vec h_v, \vec a_v)$$

    Every round and direction has its own weights.

    Args:
        size: Size of a node's state, both halves together; even.
        rounds: Number of rounds $K$.
    """

    def __init__(self, size: int, rounds: int) -> None:
        super().__init__()
        if size % 2:
            raise ValueError(f"the size of node states must be even, not {size}")
        self.size, self.side, self.rounds = size, size // 2, rounds
        self.width = -(-(self.side + 2) // 16) * 16  # of a padded half
        # nn.Linear and nn.GRUCell hold and initialise the weights; `_Rounds` multiplies.
        self.message = nn.ModuleList(nn.Linear(size, size) for _ in range(2 * rounds))
        self.update = nn.ModuleList(nn.GRUCell(size, size // 2) for _ in range(2 * rounds))

    def merged(self) -> tuple[Tensor, ...]:
        r"""Return the weights of all rounds with messages merged into the GRU's input.

        Returns:
            What multiplies $[\sum h_u, d, 1, d h_v]$ for $d$ senders, and what multiplies
            $h_v$, its bias as a last row; to be made once per batch. Blocks are padded with zeros
            to multiples of 16, which matrix products are fastest at.
        """
        half, width = self.side, self.width
        messages = [layer for layer in self.message if isinstance(layer, nn.Linear)]
        cells = [cell for cell in self.update if isinstance(cell, nn.GRUCell)]
        linear = torch.stack([layer.weight for layer in messages])
        shift = torch.stack([layer.bias for layer in messages])
        # Per gate: reset, keep, new
        receive = torch.stack([cell.weight_ih for cell in cells]).unflatten(1, (3, half))
        recur = torch.stack([cell.weight_hh for cell in cells]).unflatten(1, (3, half))
        receive_bias = torch.stack([cell.bias_ih for cell in cells]).unflatten(1, (3, half))
        recur_bias = torch.stack([cell.bias_hh for cell in cells]).unflatten(1, (3, half))
        both = receive_bias + recur_bias
        factors = torch.cat([linear, shift[:, :, None]], dim=2)
        with torch.autocast(receive.device.type, enabled=False):
            product = torch.bmm(receive.flatten(1, 2), factors).unflatten(1, (3, half))
        # New comes first in what messages give and last in what states give, so that reset and
        # keep, which need the sum of the two, lie side by side.
        new_first = [2, 0, 1]
        offset = torch.stack([receive_bias[:, 2], both[:, 0], both[:, 1]], dim=1)
        pad = nn.functional.pad
        of_sum = torch.cat(
            [product[:, new_first, :, :half], product[:, new_first, :, -1:], offset[..., None]],
            dim=3,
        )
        into = torch.cat(
            [
                pad(of_sum, (0, width - half - 2, 0, width - half)),
                pad(product[:, new_first, :, half:-1], (0, width - half, 0, width - half)),
            ],
            dim=3,
        )
        kept = torch.stack([torch.zeros_like(both[:, 0])] * 2 + [recur_bias[:, 2]], dim=1)
        own = pad(torch.cat([recur, kept[..., None]], dim=3), (0, 0, 0, width - half))
        return tuple(
            weight.flatten(1, 2).mT.unflatten(0, (self.rounds, 2)) for weight in (into, own)
        )

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
        into, own = self.merged() if weights is None else weights
        with torch.autocast(state.device.type, enabled=False):  # works in place, in one precision
            out: Tensor = _Rounds.apply(  # type: ignore[no-untyped-call]  # torch does not type it
                Neighbours.of(adj), state.to(into.dtype).flatten(0, 1), into, own
            )
        return out.view_as(state)


class _Rounds(torch.autograd.Function):
    """All rounds of `TwoWayPropagation`; messages and gates are padded, states are not."""

    @staticmethod
    def forward(
        ctx: Any,
        routes: Neighbours,
        state: Float[Tensor, "node both"],
        into: Float[Tensor, "round 2 message gates"],
        own: Float[Tensor, "round 2 half_one gates"],
    ) -> Float[Tensor, "node both"]:
        """Return the states after all rounds; the weights are those of `TwoWayPropagation`."""
        nodes, half, width = state.shape[0], state.shape[1] // 2, into.shape[2] // 2
        degree = routes.degree.to(state.dtype)
        saved = []
        for received, kept in zip(into.unbind(0), own.unbind(0), strict=True):
            h = _halves(state)
            message = _empty(state, nodes, 2, half, width)
            message[..., :half] = routes.gather(state)
            message[..., half : half + 1] = degree
            message[..., half + 1] = 1.0
            torch.mul(h, degree, out=message[..., width : width + half])
            of_message = torch.bmm(message, received)  # eq. 2: new, reset, keep
            of_state = torch.baddbmm(kept[:, -1:], h, kept[:, :-1])  # reset, keep, new
            gates = of_message[..., width:].add_(of_state[..., : 2 * width]).sigmoid_()
            reset, keep = gates.chunk(2, dim=2)
            new = _tanh_(of_message[..., :width].addcmul_(reset, of_state[..., 2 * width :]))
            after = torch.empty_like(state)
            torch.lerp(new[..., :half], h, keep[..., :half], out=_halves(after))
            saved += [state, message, of_message, of_state]
            state = after
        ctx.routes = routes
        ctx.save_for_backward(into, own, *saved)
        return state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "node both"]) -> tuple[Tensor | None, ...]:
        """Return the gradients of `forward`'s arguments."""
        with torch.autocast(grad.device.type, enabled=False):
            return _Rounds._gradients(ctx, grad)

    @staticmethod
    def _gradients(ctx: Any, grad: Float[Tensor, "node both"]) -> tuple[Tensor | None, ...]:
        routes: Neighbours = ctx.routes
        into, own, *saved = ctx.saved_tensors
        half, width = grad.shape[1] // 2, into.shape[2] // 2
        degree = routes.degree.to(grad.dtype)
        d_into, d_own = torch.empty_like(into), torch.empty_like(own)
        grad = grad.contiguous()
        for r in reversed(range(into.shape[0])):
            state, message, of_message, of_state = saved[_SAVED * r : _SAVED * (r + 1)]
            h, d_after = _halves(state), _halves(grad)
            new, reset, keep = (gate[..., :half] for gate in of_message.chunk(3, dim=2))
            candidate = of_state[..., 2 * width : 2 * width + half]
            # The gradients of new, reset, keep and the candidate: one tensor for two products.
            d_gates = _empty(grad, len(state), 4, half, width)
            d_new, d_reset, d_keep, d_candidate = (
                gate[..., :half] for gate in d_gates.chunk(4, dim=2)
            )
            through = d_after * keep
            torch.sub(d_after, through, out=d_new).addcmul_(d_new * new, new, value=-1)
            torch.sub(h, new, out=d_keep).mul_(through).mul_(1 - keep)
            torch.mul(d_new, reset, out=d_candidate)
            torch.mul(d_candidate, candidate, out=d_reset).mul_(1 - reset)
            of_messages, of_states = d_gates[..., : 3 * width], d_gates[..., width:]
            torch.bmm(message.mT, of_messages, out=d_into[r])
            d_own[r, :, :-1] = torch.bmm(h.mT, of_states)
            d_own[r, :, -1] = of_states.sum(dim=1)
            d_message = torch.bmm(of_messages, into[r].mT)
            before = torch.baddbmm(through, of_states, own[r, :, :-1].mT)
            before.addcmul_(d_message[..., width : width + half], degree)
            before += routes.scatter(d_message[..., :half])
            grad = before.transpose(0, 1).reshape_as(grad)
        return None, grad, d_into, d_own


def _empty(like: Tensor, rows: int, blocks: int, half: int, width: int) -> Tensor:
    """Return room for both directions, with zeros for padding only."""
    room = like.new_empty(2, rows, blocks, width)
    room[..., half:] = 0.0
    return room.flatten(2)


def _halves(state: Float[Tensor, "node both"]) -> Float[Tensor, "2 node half"]:
    """Look at states as two matrices, one per direction."""
    return state.view(state.shape[0], 2, state.shape[1] // 2).transpose(0, 1)


def _tanh_(x: Tensor) -> Tensor:
    """`Tensor.tanh_`, several times as fast on a CPU by way of the sigmoid."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)
