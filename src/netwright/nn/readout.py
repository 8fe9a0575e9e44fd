"""From the states of a graph's nodes to the graph: gated sums, and an encoder made of them."""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch

#: One number per node and output, or one per coordinate.
SumGate = Literal["scalar", "vector"]


@runtime_checkable
class Propagation(Protocol):
    """Rounds of message passing on small dense graphs.

    Attributes:
        size: Size of a node's state.
    """

    size: int

    def merged(self) -> tuple[Tensor, ...]:
        """Prepare the weights; worth it where they are used several times."""
        ...

    def __call__(
        self,
        state: Float[Tensor, "batch node size"],
        adj: Bool[Tensor, "batch node node"],
        weights: tuple[Tensor, ...] | None = None,
    ) -> Float[Tensor, "batch node size"]:
        """Return the states after all rounds."""
        ...


class GatedSum(nn.Module):
    r"""Several sums over a graph's nodes, each $\sum_v \sigma(\phi(h_v)) \odot \psi(h_v)$.

    [SVGe] eq. 4, with linear $\phi$ and $\psi$.

    Args:
        size: Size of a node's state.
        out: Size of each sum.
        sums: How many.
        gate: "vector", the paper's, or "scalar", one number per node, as released.
    """

    def __init__(self, size: int, out: int, *, sums: int, gate: SumGate) -> None:
        super().__init__()
        self.out, self.sums = out, sums
        self.value = nn.Linear(size, sums * out)
        self.gate = nn.Linear(size, sums * (out if gate == "vector" else 1))

    def joined(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of both layers as one."""
        weight = torch.cat([self.value.weight, self.gate.weight])
        return weight, torch.cat([self.value.bias, self.gate.bias])

    def forward(
        self, state: Float[Tensor, "batch node size"], mask: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "sums batch out"]:
        """Return the sums over the nodes in ``mask``, or over all."""
        return self.summed(nn.functional.linear(state, *self.joined()), mask)

    def summed(
        self,
        projected: Float[Tensor, "batch node joined"],
        mask: Bool[Tensor, "batch node"] | None = None,
    ) -> Float[Tensor, "sums batch out"]:
        """Return the sums, given what the `joined` layer makes of the states."""
        values, gate = projected.tensor_split([self.sums * self.out], dim=2)
        gate = gate.sigmoid()
        if mask is not None:
            gate = gate * mask[..., None]
        terms = values.unflatten(2, (self.sums, self.out)) * gate.unflatten(2, (self.sums, -1))
        sums: Tensor = terms.sum(dim=1).transpose(0, 1)
        return sums

    def ungated(self, projected: Float[Tensor, "batch joined"]) -> Float[Tensor, "sums batch out"]:
        r"""Return $\psi(h)$ of graphs of one node, as the released code of SVGe does."""
        values = projected[:, : self.sums * self.out]
        sums: Tensor = values.unflatten(1, (self.sums, self.out)).transpose(0, 1)
        return sums


class GraphEncoder(nn.Module):
    """Mean and log-variance of a graph's place in the latent space ([SVGe] section III-A).

    Args:
        num_ops: Size of the operation vocabulary.
        latent: Size of the latent space.
        propagate: Message passing.
        embed: Size of an operation's embedding; repeated to fill a node's first state.
        gate: That of the sums.
    """

    def __init__(
        self, num_ops: int, latent: int, propagate: Propagation, *, embed: int, gate: SumGate
    ) -> None:
        super().__init__()
        assert isinstance(propagate, nn.Module)
        self.repeats = propagate.size // embed
        self.embedding = nn.Embedding(num_ops, embed)
        self.propagate = propagate
        self.read = GatedSum(propagate.size, latent, sums=2, gate=gate)

    def forward(self, archs: ArchitectureBatch) -> Float[Tensor, "2 batch latent"]:
        """Return means and log-variances."""
        state = self.embedding(archs.ops).repeat(1, 1, self.repeats)
        state = self.propagate(state, archs.adj)
        full = len(archs) > 0 and int(archs.num_nodes.min()) == archs.max_nodes
        out: Tensor = self.read(state, None if full else archs.node_mask)
        return out
