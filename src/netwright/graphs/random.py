"""Random DAGs: Erdős-Rényi, Watts-Strogatz and Barabási-Albert graphs, oriented.

As in [Xie2019] (RandWire, section 3.2): draw an undirected random graph, then orient every edge
from the lower to the higher node index. All graphs of a batch are drawn together; a parameter
given as a tensor differs from graph to graph.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def erdos_renyi(
    n: int,
    num_nodes: int | Int[Tensor, " batch"],
    p: float | Float[Tensor, " batch"],
    *,
    rng: torch.Generator,
) -> Bool[Tensor, "batch node node"]:
    """Draw ``n`` graphs in which each pair of nodes is joined with probability ``p``.

    Args:
        n: How many graphs.
        num_nodes: Nodes of each graph; if a tensor, the result is padded to the largest.
        p: Probability of an edge.
        rng: Source of randomness.

    Raises:
        ValueError: If ``p`` is not a probability.
    """
    chance = _probability(p, n)
    sizes = torch.as_tensor(num_nodes).expand(n)
    largest = int(sizes.max()) if n else 0
    real = torch.arange(largest) < sizes[:, None]
    edges = torch.rand(n, largest, largest, generator=rng) < chance[:, None, None]
    return (edges & real[:, :, None] & real[:, None, :]).triu(diagonal=1)


def watts_strogatz(
    n: int,
    num_nodes: int,
    k: int | Int[Tensor, " batch"],
    p: float | Float[Tensor, " batch"],
    *,
    rng: torch.Generator,
) -> Bool[Tensor, "batch node node"]:
    """Draw ``n`` small-world graphs of exactly ``num_nodes * k / 2`` edges.

    A ring in which every node is joined to its ``k`` nearest; then, clockwise for ``k / 2`` laps,
    each edge ``(i, i + lap)`` gets, with probability ``p``, another far end, uniform over the
    nodes not joined to ``i`` yet (the edge stays if there is none).

    Raises:
        ValueError: If ``k`` is odd or not in ``[0, num_nodes)``, or ``p`` no probability.
    """
    chance, degree = _probability(p, n), torch.as_tensor(k).expand(n)
    if n and bool(((degree % 2 != 0) | (degree < 0) | (degree >= num_nodes)).any()):
        raise ValueError(f"k must be even and below the {num_nodes} nodes, not {k}")
    laps = int(degree.max()) // 2 if n else 0
    edges = torch.zeros(n, num_nodes, num_nodes, dtype=torch.bool)
    ring = torch.arange(num_nodes)
    for lap in range(1, laps + 1):
        there = (ring + lap) % num_nodes
        edges[:, ring, there] = edges[:, there, ring] = (degree >= 2 * lap)[:, None]
    graph = torch.arange(n)
    for lap in range(1, laps + 1):
        for i in range(num_nodes):
            old = (i + lap) % num_nodes
            options = ~edges[:, i]
            options[:, i] = False
            rewire = (torch.rand(n, generator=rng) < chance) & (degree >= 2 * lap)
            rewire &= options.any(dim=1)
            weight = options.float()
            weight[~options.any(dim=1), i] = 1.0  # multinomial needs something to draw
            new = torch.multinomial(weight, 1, generator=rng)[:, 0]
            edges[:, i, old] &= ~rewire
            edges[:, old, i] &= ~rewire
            edges[graph, i, new] |= rewire
            edges[graph, new, i] |= rewire
    return edges.triu(diagonal=1)


def barabasi_albert(
    n: int, num_nodes: int, m: int, *, rng: torch.Generator
) -> Bool[Tensor, "batch node node"]:
    """Draw ``n`` preferential-attachment graphs of exactly ``m * (num_nodes - m)`` edges.

    Starts from ``m`` nodes without edges, all of which the next node is joined to; each further
    node is joined to ``m`` different older ones, drawn one after the other with probability
    proportional to their degree.

    Raises:
        ValueError: If ``m`` is not in ``[1, num_nodes)``.
    """
    if not 1 <= m < num_nodes:
        raise ValueError(f"m must be at least 1 and below the {num_nodes} nodes, not {m}")
    edges = torch.zeros(n, num_nodes, num_nodes, dtype=torch.bool)
    edges[:, :m, m] = True
    if not n:
        return edges
    degree = torch.zeros(n, num_nodes)
    degree[:, :m], degree[:, m] = 1.0, float(m)
    graph = torch.arange(n)[:, None]
    for j in range(m + 1, num_nodes):
        older = torch.multinomial(degree[:, :j], m, generator=rng)
        edges[graph, older, j] = True
        degree.scatter_add_(1, older, torch.ones(n, m))
        degree[:, j] = float(m)
    return edges


def _probability(p: float | Float[Tensor, " batch"], n: int) -> Float[Tensor, " batch"]:
    chance = torch.as_tensor(p, dtype=torch.get_default_dtype())
    if bool(((chance < 0) | (chance > 1)).any()):
        raise ValueError(f"p must lie in [0, 1], not {p}")
    return chance.expand(n)
