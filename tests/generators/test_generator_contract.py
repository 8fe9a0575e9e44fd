"""Every generator keeps the contract: add yours to GENERATORS."""

from functools import partial

import pytest

from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.molgan import MolGAN
from netwright.generators.random_graph import RandomGraph
from netwright.generators.rnn_gan import RNNGAN
from netwright.testing.generators import GENERATOR_CHECKS


def random_graph(layout, *, rng, **options):
    del rng  # it has no parameters
    return RandomGraph(layout, **options)


GENERATORS = {
    "graphpnas": partial(GraphPNAS, hidden=12, rounds=3, mixtures=3),
    "graphpnas, one round": partial(GraphPNAS, hidden=8, rounds=1, mixtures=1),
    "graphpnas, vector gate": partial(GraphPNAS, hidden=8, rounds=2, mixtures=2, gate="vector"),
    "graphpnas, released": partial(GraphPNAS, hidden=12, rounds=2, mixtures=3, variant="released"),
    "graphpnas, released with feedback and scalar gate": partial(
        GraphPNAS, hidden=8, rounds=2, mixtures=2, variant="released", feedback=True, gate="scalar"
    ),
    "gnn2gnn": partial(GNN2GNN, hidden=8),
    "gnn2gnn, released": partial(GNN2GNN, hidden=8, variant="released"),
    "gnn2gnn, bounded": partial(GNN2GNN, hidden=8, layers=1, edge_bound=1.0, op_bound=2.0),
    "molgan": partial(MolGAN, latent_size=8, widths=(12, 16), features=8),
    "rnn": partial(RNNGAN, latent_size=8, hidden=10),
    "er": random_graph,
    "er of all sizes": partial(random_graph, sizes="uniform", p=0.3),
    "ws": partial(random_graph, model="ws", k=2),
    "ba": partial(random_graph, model="ba", m=1, sizes="uniform"),
}


@pytest.mark.parametrize("check", GENERATOR_CHECKS.values(), ids=GENERATOR_CHECKS)
@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_contract(make, check):
    check(make)
