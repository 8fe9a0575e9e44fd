"""What variational autoencoders of graphs share: the posterior and its divergence."""

import torch
from jaxtyping import Float
from torch import Tensor


def divergence(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    r"""Return $D_{KL}(\mathcal N(\mu, \sigma^2) \| \mathcal N(0, I))$ in nats ([SVGe] eq. 9)."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)


def perturbed(
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    noise: float,
    *,
    rng: torch.Generator,
) -> Float[Tensor, "batch latent"]:
    """Draw from the posterior by reparameterisation, its standard deviation times ``noise``.

    Args:
        mean: Of the posterior.
        log_variance: Of the posterior.
        noise: 1 for the posterior itself.
        rng: A CPU generator, so that the draws do not depend on the device.
    """
    draws = torch.randn(mean.shape, generator=rng, dtype=mean.dtype).to(mean.device)
    return mean + noise * draws * (0.5 * log_variance).exp()
