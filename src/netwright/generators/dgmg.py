"""DGMG [Li2018] as a variational autoencoder, as [SVGe] compares itself with it.

"As an ablation, we also adapted the generative model from [Li2018], DGMG, as a VAE with a single
decoder" ([SVGe] section IV-A). Following the paper's released code, that is SVGe with two things
changed: a node has one state, which adds up messages along and against the edges
(`netwright.nn.joint`), in the encoder and in the decoder; and graphs are decoded from input to
output only. Unlike the original, all incoming edges of a node are drawn at once.
"""

from typing import Any

import torch

from netwright.generators.svge import SVGe
from netwright.graphs.layout import Layout


def dgmg(layout: Layout, *, rng: torch.Generator, **options: Any) -> SVGe:
    """Return SVGe with joint message passing and without a backward decoder.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        rng: Draws the initial parameters.
        options: Others of `netwright.generators.svge.SVGe`.
    """
    return SVGe(layout, propagation="joint", backward="none", rng=rng, **options)
