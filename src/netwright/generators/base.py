"""What a generator is: a distribution over architectures, and what some can do besides sampling."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout


class Generator(nn.Module, ABC):
    r"""A distribution $p_\theta(G)$ over the complete graphs of a layout.

    Attributes:
        layout: All it knows of the search space.
    """

    layout: Layout

    @abstractmethod
    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` graphs; no gradient flows, and a space may still call them invalid."""


@runtime_checkable
class HasLogProb(Protocol):
    """A generator whose likelihood is exact (GraphPNAS, RNN controller, DGMG)."""

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        r"""Return $\log p_\theta(G)$ in nats, differentiable in $\theta$.

        Minus infinity for graphs the layout rules out.
        """
        ...


@runtime_checkable
class HasLoss(Protocol):
    """A generator trained on a set of graphs by descending a loss (SVGe, D-VAE, arch2vec)."""

    def loss(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> Float[Tensor, ""]:
        """Return the training loss of a batch, averaged over its graphs.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        ...


@runtime_checkable
class HasLatent(HasLoss, Protocol):
    """A generator with a latent space to search in (SVGe, DGMG, D-VAE, arch2vec).

    Attributes:
        layout: What it knows of the space.
        latent_size: Number of coordinates of a latent point.
        any_size: Whether its parameters fit layouts of any number of nodes.
    """

    layout: Layout
    latent_size: int
    any_size: bool

    def encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return mean and log-variance of the posterior of each architecture.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        ...

    def decode(
        self, latent: Float[Tensor, "batch latent"], *, rng: torch.Generator, mode: bool = False
    ) -> ArchitectureBatch:
        """Draw one architecture at each latent point, or take the likeliest choices (``mode``).

        Raises:
            ValueError: If points do not have ``latent_size`` coordinates, or one is not finite.
        """
        ...


@runtime_checkable
class DecodesOften(Protocol):
    """A generator with a latent space that draws many graphs at one point faster than each alone.

    Use it through `netwright.generators.latent.draw_counts`, which any `HasLatent` will do for.
    """

    def decode_often(
        self,
        latent: Float[Tensor, "point latent"],
        draws: int,
        *,
        rng: torch.Generator,
        within: Layout | None = None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "point draw"]]:
        """Draw that many architectures at each latent point, independently of each other.

        Args:
            latent: Points.
            draws: How many at each.
            rng: Source of all randomness.
            within: A stricter layout of the same size and vocabulary to obey.

        Returns:
            Architectures, and which of them each draw is.

        Raises:
            ValueError: If points do not have ``latent_size`` coordinates, or one is not finite; if
                there are no draws; if ``within`` does not fit.
        """
        ...


def insist_complete(archs: ArchitectureBatch, layout: Layout) -> ArchitectureBatch:
    """Return the graphs, padded to ``layout.max_nodes``.

    Raises:
        ValueError: If one is not a complete graph of the layout.
    """
    inside = complete(archs, layout)
    if not bool(inside.all()):
        first = int((~inside).nonzero()[0])
        raise ValueError(
            f"graph {first} of {len(archs)} is not one that the generator's layout allows: "
            "is it of another space?"
        )
    return archs.pad(layout.max_nodes)


def insist_latent(
    latent: Float[Tensor, "batch latent"], size: int
) -> Float[Tensor, "batch latent"]:
    """Return the latent points.

    Raises:
        ValueError: If they do not have ``size`` coordinates, or one is not finite.
    """
    if latent.ndim != 2 or latent.shape[1] != size:
        raise ValueError(f"latent points have shape {tuple(latent.shape)}, not (batch, {size})")
    if not bool(latent.isfinite().all()):
        raise ValueError("a latent point is not finite")
    return latent


def complete(archs: ArchitectureBatch, layout: Layout) -> Bool[Tensor, " batch"]:
    """Tell which graphs a generator over ``layout`` can draw: the support of its distribution.

    That is `Layout.rules` without ``max_edges`` and ``connected``, which are left to rejection,
    and with graphs of ``max_nodes`` nodes counted whether or not their last node is ``end_op``.
    """
    fits = (archs.num_nodes > 0) & (archs.num_nodes <= layout.max_nodes)
    sizes = archs.num_nodes.clamp(max=layout.max_nodes)
    archs = ArchitectureBatch.masked(archs.ops, archs.adj, sizes).pad(layout.max_nodes)
    real = archs.node_mask
    position = torch.arange(layout.max_nodes, device=archs.device)
    known = (archs.ops >= 0) & (archs.ops < layout.num_ops)
    op = archs.ops.clamp(0, layout.num_ops - 1)
    allowed = known & layout.allowed_ops.to(archs.device)[position, op]
    free, forced = layout.free.to(archs.device), layout.forced.to(archs.device)
    due = forced & real[:, :, None] & real[:, None, :]
    edges = (~archs.adj | free | forced) & (archs.adj | ~due)
    ok = fits & (allowed | ~real).all(dim=1) & edges.all(dim=2).all(dim=1)
    if layout.end_op is None:
        return ok & (sizes == layout.max_nodes)
    ends = real & (archs.ops == layout.end_op)
    first = torch.where(ends, position, layout.max_nodes - 1).amin(dim=1)
    return ok & (sizes == first + 1)
