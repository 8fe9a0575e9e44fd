"""What a generator is: a distribution over architectures, and what some can do besides sampling."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
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
class HasLatent(Protocol):
    """A generator with a latent space to search in (SVGe, D-VAE, arch2vec)."""

    def encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return mean and log-variance of the posterior of each architecture."""
        ...

    def decode(
        self, latent: Float[Tensor, "batch latent"], *, rng: torch.Generator
    ) -> ArchitectureBatch:
        """Draw one architecture from the decoder at each latent point."""
        ...

    def loss(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> Float[Tensor, ""]:
        """Return the training loss of a batch, averaged over its graphs."""
        ...
