"""Measures of searches and generators: pure functions of tensors."""

import torch
from jaxtyping import Float
from torch import Tensor


def incumbent(score: Float[Tensor, " evaluation"]) -> Float[Tensor, " evaluation"]:
    """Return the best score so far after each evaluation.

    A NaN (a failed evaluation) changes nothing; before the first success the result is NaN.
    """
    valid = ~score.isnan()
    best = torch.where(valid, score, -torch.inf).cummax(dim=0).values
    return torch.where(valid.long().cumsum(dim=0) > 0, best, torch.nan)
