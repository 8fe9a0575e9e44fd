"""Random mutations of architectures: the move of evolution [Real2019] and of BANANAS [White2019].

As in the authors' code for NAS-Bench-101, every edge and every operation may change, each with a
small probability, so that one edge and one operation change on average. Their graphs keep nodes
that lie on no path, which a mutation may join again; those here are pruned, so such nodes are
drawn anew for each mutation.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace

_DRAWS = 20  # of graphs, for each mutant wanted, before giving up


def mutate(
    archs: ArchitectureBatch, layout: Layout, *, rng: torch.Generator, rate: float = 1.0
) -> ArchitectureBatch:
    """Flip free edges and replace operations at random; the results need not be valid or differ.

    Args:
        archs: Graphs of the layout.
        layout: Where an edge is free it flips with probability ``rate / number of free pairs``
            (1/21 on NAS-Bench-101); where a node has a choice of operations, it gets another one
            with probability ``rate / number of such nodes`` (1/5). Nothing else changes, apart
            from nodes on no path: where every node has to lie on one, a graph of less than
            ``max_nodes`` nodes is filled up with them first.
        rng: Source of all randomness.
        rate: How many edges, and how many operations, change on average.
    """
    archs = archs.pad(layout.max_nodes)
    if layout.connected and layout.end_op is not None:
        archs = _filled_up(archs, layout, rng=rng)
    real = archs.node_mask
    pairs = layout.free & real[:, :, None] & real[:, None, :]
    flip = _chosen(pairs.flatten(1), rate, rng=rng).view_as(pairs)
    others = _choices(archs, layout) & ~_one_hot(archs, layout)
    replace = _chosen(others.any(dim=2), rate, rng=rng)
    return ArchitectureBatch(
        torch.where(replace, _drawn(others, rng=rng), archs.ops), archs.adj ^ flip, archs.num_nodes
    )


def mutants(
    space: SearchSpace, arch: ArchitectureBatch, n: int, *, rng: torch.Generator, rate: float = 1.0
) -> ArchitectureBatch:
    """Return ``n`` valid mutants of a single architecture, simplified; fewer if hardly any is."""
    kept, missing = [ArchitectureBatch.empty(space.layout.max_nodes)], n
    for _ in range(_DRAWS):
        if not missing:
            break
        parents = arch[torch.zeros(n, dtype=torch.long)]
        archs = space.simplify(mutate(parents, space.layout, rng=rng, rate=rate))
        kept.append(archs[space.is_valid(archs)][:missing])
        missing -= len(kept[-1])
    return ArchitectureBatch.cat(kept)


def _chosen(
    mask: Bool[Tensor, "batch place"], rate: float, *, rng: torch.Generator
) -> Bool[Tensor, "batch place"]:
    """Choose each of those in the mask alike, ``rate`` of them on average."""
    chance = rate / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return mask & (torch.rand(mask.shape, generator=rng) < chance)


def _choices(archs: ArchitectureBatch, layout: Layout) -> Bool[Tensor, "batch node op"]:
    """What each node may be without the graph ending elsewhere."""
    allowed, inner = layout.allowed_ops, archs.node_mask
    if layout.end_op is not None:
        allowed = allowed & (torch.arange(layout.num_ops) != layout.end_op)
        inner = torch.arange(layout.max_nodes) < archs.num_nodes[:, None] - 1
    return allowed & inner[:, :, None]


def _one_hot(archs: ArchitectureBatch, layout: Layout) -> Bool[Tensor, "batch node op"]:
    return torch.nn.functional.one_hot(archs.ops, layout.num_ops).bool()


def _drawn(options: Bool[Tensor, "batch node op"], *, rng: torch.Generator) -> Tensor:
    """Draw one of the options of each node, all with equal chance."""
    return (options * (1 + torch.rand(options.shape, generator=rng))).argmax(dim=2)


def _filled_up(
    archs: ArchitectureBatch, layout: Layout, *, rng: torch.Generator
) -> ArchitectureBatch:
    """Put nodes on no path between those of pruned graphs, up to the layout's number.

    Where they go, their operations and their edges are random. Half of them cannot be reached
    from the input; the output cannot be reached from the others.
    """
    n, inner = layout.max_nodes, archs.num_nodes[:, None] - 2
    spare = torch.zeros_like(archs.node_mask)
    place = torch.rand(len(archs), n - 2, generator=rng).argsort(dim=1).argsort(dim=1)
    spare[:, 1:-1] = place >= inner
    order = torch.where(
        spare, archs.num_nodes[:, None] + spare.cumsum(dim=1), (~spare).cumsum(dim=1)
    )
    order = order - 1
    rows = archs.adj.gather(1, order[:, :, None].expand_as(archs.adj))
    adj = rows.gather(2, order[:, None, :].expand_as(archs.adj))
    unreached = spare & (torch.rand(spare.shape, generator=rng) < 0.5)
    loose = unreached[:, :, None] | (spare & ~unreached)[:, None, :]
    drawn = torch.rand(adj.shape, generator=rng) < 0.5
    size = torch.full_like(archs.num_nodes, n)
    full = ArchitectureBatch(archs.ops.gather(1, order), adj | (drawn & loose & layout.free), size)
    ops = torch.where(spare, _drawn(_choices(full, layout), rng=rng), full.ops)
    return ArchitectureBatch(ops, full.adj, size)
