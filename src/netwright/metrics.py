"""Measures of searches, generators and predictors: pure functions of tensors.

The measures of generators are those of [SVGe] section IV-A and the code released with it, which
compares graphs in the order in which their nodes are stored: pass `netwright.graphs.hashing`'s
``labelled_keys``, as published, or its ``keys``, which are equal for isomorphic graphs too. What
counts as valid is said by a mask: that of a space, or the published rules
(`netwright.reproductions.validity`).

Those of what generated architectures are worth are in [GNN2GNN] section 4.3. They take an accuracy
and a percentile for each generated graph, NaN where a benchmark does not have it.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch

#: Gives graphs that count as the same the same key: `hashing.labelled_keys` or `hashing.keys`.
Keys = Callable[[ArchitectureBatch], Tensor]


def incumbent(score: Float[Tensor, " evaluation"]) -> Float[Tensor, " evaluation"]:
    """Return the best score so far after each evaluation.

    A NaN (a failed evaluation) changes nothing; before the first success the result is NaN.
    """
    valid = ~score.isnan()
    best = torch.where(valid, score, -torch.inf).cummax(dim=0).values
    return torch.where(valid.long().cumsum(dim=0) > 0, best, torch.nan)


def reconstruction_accuracy(
    archs: ArchitectureBatch,
    decoded: ArchitectureBatch,
    *,
    keys: Keys = hashing.labelled_keys,
) -> float:
    """Return the share of decoded graphs that are their original ([SVGe] section IV-A).

    The published figure has 100 decoded graphs for each of the test graphs. The mean is over
    all decoded graphs (the released code divides by a little more where the last batch is short).

    Args:
        archs: The originals.
        decoded: Equally many graphs for each original, those of one original side by side.
        keys: What makes two graphs the same.

    Returns:
        A fraction; NaN where there are no graphs.

    Raises:
        ValueError: If there are not equally many decoded graphs for each original.
    """
    if not len(archs):
        return torch.nan
    each, left = divmod(len(decoded), len(archs))
    if left or not each:
        raise ValueError(
            f"{len(decoded)} decoded graphs are not equally many for each of {len(archs)} originals"
        )
    wanted = keys(archs).repeat_interleave(each, dim=0)
    return float((keys(decoded) == wanted).all(dim=1).double().mean())


def validity(valid: Bool[Tensor, " batch"]) -> float:
    """Return the share of valid graphs ([SVGe] section IV-A); NaN where there are none at all."""
    return float(valid.double().mean())


def uniqueness(keys: Int[Tensor, "batch 2"], valid: Bool[Tensor, " batch"]) -> float:
    """Return the number of distinct valid graphs over that of valid ones ([SVGe] section IV-A).

    Args:
        keys: What makes two graphs the same.
        valid: Which graphs are valid; the others do not count.

    Returns:
        A fraction; NaN where no graph is valid.
    """
    counted = keys[valid]
    return len(hashing.distinct(counted)) / len(counted) if len(counted) else torch.nan


def novelty(
    keys: Int[Tensor, "batch 2"],
    valid: Bool[Tensor, " batch"],
    known: Int[Tensor, "known 2"],
) -> float:
    """Return the share of valid graphs that are no training graph ([SVGe] section IV-A).

    A graph that is generated several times counts each time, as published.

    Args:
        keys: What makes two graphs the same.
        valid: Which graphs are valid; the others do not count.
        known: ``hashing.distinct`` of the keys, of the same kind, of the training graphs.

    Returns:
        A fraction; NaN where no graph is valid.

    Raises:
        ValueError: If ``known`` is not sorted, or holds a key twice.
    """
    return float((hashing.find(known, keys[valid]) < 0).double().mean())


def distinct(keys: Int[Tensor, "batch 2"], counted: Bool[Tensor, " batch"]) -> int:
    """Count the different graphs among those that ``counted`` names."""
    return len(hashing.distinct(keys[counted]))


def unrepeated(keys: Int[Tensor, "batch 2"], valid: Bool[Tensor, " batch"]) -> float:
    """Return the share of valid graphs that came up once, as [GNN2GNN]'s code has "uniqueness".

    `uniqueness` has the number of different graphs in its place.

    Args:
        keys: What makes two graphs the same.
        valid: Which graphs are valid; the others do not count.

    Returns:
        A fraction; NaN where no graph is valid.
    """
    counted = keys[valid]
    place = hashing.find(hashing.distinct(counted), counted)
    return float((place.bincount()[place] == 1).double().mean())


def percentiles(accuracy: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    """Return, for each architecture of a benchmark, the share of all that are at least as good.

    The k-th best of n has k / n, so the best N % ([GNN2GNN] section 4.3) are those with N / 100
    or less. Equals share the largest of their ranks: the best N % never are more than N % of all.

    Args:
        accuracy: Larger is better; what is NaN has no rank and does not count.

    Returns:
        Fractions in float64, above 0; NaN where the accuracy is.
    """
    known = ~accuracy.isnan()
    ascending = accuracy[known].sort().values
    worse = torch.searchsorted(ascending, accuracy.contiguous())
    share = (len(ascending) - worse) / torch.tensor(len(ascending), dtype=torch.double)
    return torch.where(known, share, torch.nan)


def top_share(percentile: Float[Tensor, " batch"], share: float) -> float:
    """Return which part of all generated graphs the best of a benchmark are ([GNN2GNN] 4.3).

    Args:
        percentile: Of each generated graph, as `percentiles` gives it; NaN, which counts as not
            among the best, where the benchmark does not have it.
        share: How many of the benchmark's architectures are its best: 0.05 for Top-5.

    Returns:
        A fraction; NaN where nothing was generated.
    """
    return float((percentile <= share).double().mean())


def share_above(accuracy: Float[Tensor, " batch"], threshold: float) -> float:
    """Return which part of the graphs of known accuracy exceed a threshold ([GNN2GNN] 4.3, Acc_n).

    Args:
        accuracy: Of each generated graph; NaN where the benchmark does not have it.
        threshold: What has to be exceeded, in the precision of the accuracies.

    Returns:
        A fraction; NaN where no accuracy is known.
    """
    known = accuracy[~accuracy.isnan()]
    return float((known > threshold).double().mean())


def known_mean(values: Float[Tensor, " batch"]) -> float:
    """Return the mean of the values that are not NaN, in double precision; NaN without any."""
    return float(values.double().nanmean())


def known_max(values: Float[Tensor, " batch"]) -> float:
    """Return the largest of the values that are not NaN; NaN without any."""
    known = values[~values.isnan()]
    return float(known.max()) if len(known) else math.nan


def edit_distance(a: ArchitectureBatch, b: ArchitectureBatch) -> Int[Tensor, " batch"]:
    """Count what differs between ``a[i]`` and ``b[i]``, their nodes compared one by one as stored.

    That is the nodes whose operation differs or that only one of the two has, and the edges that
    only one of the two has. How smoothly decoded graphs change ([SVGe] section IV-B).

    Raises:
        ValueError: If the batches have different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} graphs cannot be compared with {len(b)} one by one")
    size = max(a.max_nodes, b.max_nodes)
    a, b = a.pad(size), b.pad(size)
    nodes = (a.ops != b.ops) | (a.node_mask != b.node_mask)
    return nodes.sum(dim=1) + (a.adj != b.adj).sum(dim=(1, 2))


def mse(predicted: Float[Tensor, " batch"], actual: Float[Tensor, " batch"]) -> float:
    """Return the mean squared error of predictions; NaN where there are none."""
    return float((predicted.double() - actual.double()).square().mean())


def rmse(predicted: Float[Tensor, " batch"], actual: Float[Tensor, " batch"]) -> float:
    """Return the square root of `mse`, in the units of what is predicted."""
    return math.sqrt(mse(predicted, actual))


def kendall_tau(predicted: Float[Tensor, " batch"], actual: Float[Tensor, " batch"]) -> float:
    """Return Kendall's rank correlation tau-b; NaN where one of the two does not vary."""
    from scipy.stats import kendalltau  # half a second, and only predictors need it

    if not (_varies(predicted) and _varies(actual)):
        return math.nan
    return float(kendalltau(predicted.cpu().numpy(), actual.cpu().numpy()).statistic)


def spearman(predicted: Float[Tensor, " batch"], actual: Float[Tensor, " batch"]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN where one is constant."""
    from scipy.stats import spearmanr  # as above

    if not (_varies(predicted) and _varies(actual)):
        return math.nan
    return float(spearmanr(predicted.cpu().numpy(), actual.cpu().numpy()).statistic)


def _varies(values: Float[Tensor, " batch"]) -> bool:
    return len(values) > 1 and bool((values != values[0]).any())
