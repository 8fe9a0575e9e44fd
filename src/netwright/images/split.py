"""Stratified splits: every class gives the same share."""

import torch
from jaxtyping import Int64
from torch import Tensor


def stratified_split(
    labels: Int64[Tensor, " image"], fraction: float, *, rng: torch.Generator
) -> tuple[Int64[Tensor, " chosen"], Int64[Tensor, " rest"]]:
    """Choose the same share of every class at random.

    With ``fraction`` 0.1 this is the low-data regime of [GraphPNAS] section 4.1: all classes,
    a tenth of the images of each to train on, the rest to validate on.

    Args:
        labels: Class of each image.
        fraction: Share to choose, rounded to whole images; at least one of each class is chosen
            and at least one is not.
        rng: Decides which.

    Returns:
        Positions of the chosen images and of the rest, both ascending.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or a class has a single image.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of a split must lie between 0 and 1, not {fraction}")
    cpu = labels.cpu()
    counts = cpu.bincount()
    if (counts == 1).any():
        raise ValueError(
            f"class {int((counts == 1).nonzero()[0])} has a single image: at least 2 are needed "
            "to put one on each side of a split"
        )
    chosen_counts = (counts.double() * fraction).round().long().clamp(min=1)
    chosen_counts = chosen_counts.minimum(counts - 1)
    shuffled = torch.randperm(len(cpu), generator=rng)
    by_class = shuffled[cpu[shuffled].argsort(stable=True)]
    class_of, starts = cpu[by_class], counts.cumsum(0) - counts
    rank = torch.arange(len(cpu)) - starts[class_of]
    chosen = torch.zeros(len(cpu), dtype=torch.bool)
    chosen[by_class] = rank < chosen_counts[class_of]
    return chosen.nonzero()[:, 0].to(labels.device), (~chosen).nonzero()[:, 0].to(labels.device)
