"""Slow, obvious reference implementations for small graphs."""

from itertools import permutations, product

import torch

from netwright.graphs.batch import ArchitectureBatch


def all_dags(n, num_ops=1):
    """Every operation-labelled, topologically stored DAG of ``n`` nodes."""
    pairs = torch.triu_indices(n, n, offset=1)
    bits = torch.tensor(list(product([False, True], repeat=pairs.shape[1])), dtype=torch.bool)
    adj = torch.zeros(len(bits), n, n, dtype=torch.bool)
    adj[:, pairs[0], pairs[1]] = bits
    ops = torch.tensor(list(product(range(num_ops), repeat=n)))
    return ArchitectureBatch(
        ops.repeat(len(adj), 1),
        adj.repeat_interleave(len(ops), dim=0),
        torch.full((len(adj) * len(ops),), n),
    )


def canonical(archs):
    """The smallest code of each graph over all renumberings; equal exactly for isomorphic ones."""
    n = archs.max_nodes
    weight = 2 ** torch.arange(n * n)
    codes = []
    for order in permutations(range(n)):
        index = torch.tensor(order)
        adj = archs.adj[:, index][:, :, index].flatten(1)
        ops = (archs.ops[:, index] * 4 ** torch.arange(n)).sum(dim=1)
        codes.append((adj * weight).sum(dim=1) + (ops << n * n))
    return torch.stack(codes).amin(dim=0)


def graph(edges, ops, pad=0):
    """One graph from a list of edges and a list of operations."""
    n = len(ops)
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    return ArchitectureBatch(torch.tensor([ops]), adj, torch.tensor([n])).pad(n + pad)


def paths(archs, b):
    """All paths of graph ``b`` from its first to its last node, as lists of nodes."""
    last = int(archs.num_nodes[b]) - 1

    def grow(path):
        if path[-1] == last:
            yield path
        for j in range(last + 1):
            if archs.adj[b, path[-1], j]:
                yield from grow([*path, j])

    return list(grow([0]))


def linear_extensions(archs, b):
    """All node orders of graph ``b`` in which every edge runs forward."""
    n = int(archs.num_nodes[b])
    edges = archs.adj[b].nonzero().tolist()
    for order in permutations(range(n)):
        place = {node: position for position, node in enumerate(order)}
        if all(place[i] < place[j] for i, j in edges):
            yield list(order)


def random_archs(n, sizes, num_ops, *, rng, p=0.5):
    """Random DAGs of mixed sizes, padded."""
    largest = max(sizes)
    size = torch.tensor(sizes)[torch.randint(len(sizes), (n,), generator=rng)]
    return ArchitectureBatch.masked(
        torch.randint(num_ops, (n, largest), generator=rng),
        torch.rand(n, largest, largest, generator=rng) < p,
        size,
    )
