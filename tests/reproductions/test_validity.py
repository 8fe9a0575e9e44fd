"""The published rules of validity, each by hand, and against a literal reading of their source."""

import networkx as nx
import pytest
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.validity import published_validity
from netwright.rng import stream
from netwright.spaces.base import uniform_graphs
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

CELLS, OPS_ON_EDGES, MACRO = NASBench101(), NASBench201(), ENAS()
SPACES = {space.name: space for space in (CELLS, OPS_ON_EDGES, MACRO)}


def graph(ops, edges, pad=0):
    n = len(ops)
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for source, target in edges:
        adj[0, source, target] = True
    return ArchitectureBatch(torch.tensor([ops]), adj, torch.tensor([n])).pad(n + pad)


def valid(space, ops, edges):
    plain, padded = (bool(published_validity(space, graph(ops, edges, pad))[0]) for pad in (0, 3))
    assert plain == padded
    return plain


def chain(n):
    return [(i, i + 1) for i in range(n - 1)]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
class TestEverySpace:
    """What is asked of all graphs; operation 0 is the input, the last one the output."""

    def test_members_are_valid(self, space):
        assert published_validity(space, space.sample(200, rng=stream(0, "samples"))).all()

    def test_a_chain_of_any_length(self, space):
        out = len(space.op_names) - 1
        for n in range(2, 8):
            assert valid(space, [0, *[1] * (n - 2), out], chain(n))
        assert not valid(space, [0], [])
        assert not valid(space, [out], [])

    def test_no_graph_without_nodes(self, space):
        nothing = ArchitectureBatch.masked(
            torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, 4).bool(), torch.tensor([0])
        )
        assert not published_validity(space, nothing).any()

    def test_one_input_the_first_node(self, space):
        out = len(space.op_names) - 1
        assert not valid(space, [0, 0, out], chain(3))
        assert not valid(space, [1, 1, out], chain(3))
        assert not valid(space, [1, 0, out], chain(3))

    def test_one_output_the_last_node(self, space):
        out = len(space.op_names) - 1
        assert not valid(space, [0, out, out], chain(3))
        assert not valid(space, [0, 1, 1], chain(3))
        assert not valid(space, [0, out, 1], chain(3))

    def test_every_node_has_an_incoming_edge(self, space):
        out = len(space.op_names) - 1
        assert valid(space, [0, 1, 1, out], [(0, 1), (1, 2), (2, 3)])
        assert not valid(space, [0, 1, 1, out], [(0, 1), (1, 3), (2, 3)])

    def test_every_node_has_an_outgoing_edge(self, space):
        out = len(space.op_names) - 1
        assert valid(space, [0, 1, 1, out], [(0, 1), (1, 2), (1, 3), (2, 3)])
        assert not valid(space, [0, 1, 1, out], [(0, 1), (1, 2), (1, 3)])

    def test_operations_have_names(self, space):
        out = len(space.op_names) - 1
        assert not valid(space, [0, out + 1, out], chain(3))


def test_nasbench101_limits():
    full = [(0, i) for i in range(1, 7)] + [(i, 6) for i in range(1, 6)]  # 11 edges
    nine = [*chain(7), (0, 6), (0, 2), (1, 3)]
    ops = [0, 1, 2, 3, 1, 2, 4]
    assert valid(CELLS, ops, nine)
    assert not valid(CELLS, ops, [*nine, (2, 4)])
    assert not valid(CELLS, ops, full)
    eight = [0, 1, 2, 3, 1, 2, 3, 4]
    assert not valid(CELLS, eight, chain(8))
    assert valid(NASBench101(8, 10), eight, chain(8))


def test_other_spaces_have_no_limit_of_edges():
    every = [(i, j) for j in range(7) for i in range(j)]
    assert valid(OPS_ON_EDGES, [0, 1, 2, 3, 4, 5, 6], every)
    assert valid(MACRO, [0, 1, 2, 3, 4, 5, 7], every)


def test_nasbench201_asks_for_no_adjacency():
    assert valid(OPS_ON_EDGES, [0, 1, 6], chain(3))
    assert not OPS_ON_EDGES.is_valid(graph([0, 1, 6], chain(3)))


def test_enas_asks_for_the_chain_of_layers():
    diamond = [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert not valid(MACRO, [0, 1, 2, 7], diamond)
    assert valid(OPS_ON_EDGES, [0, 1, 2, 6], diamond)
    assert valid(MACRO, [0, 1, 2, 7], [*diamond, (1, 2)])


def test_enas_lets_the_output_take_any_layer():
    assert valid(MACRO, [0, 1, 2, 7], [*chain(4), (1, 3)])
    assert not MACRO.is_valid(graph([0, 1, 2, 3, 4, 5, 6, 7], [*chain(8), (1, 7)]))


def test_other_spaces_have_no_published_rules():
    toy = Toy()
    toy.op_names = ("input", "conv", "output")
    with pytest.raises(ValueError, match="no rules of validity were published for toy"):
        published_validity(toy, toy.enumerate())


def literally(space, ops, adj):
    """The rules as the released code and google-research/nasbench state them, one graph a time."""
    g = nx.from_numpy_array(adj, create_using=nx.DiGraph)
    n = len(ops)
    names = [space.op_names[op] for op in ops]
    if names.count("input") != 1 or names.count("output") != 1:
        return False
    if any(g.in_degree(v) == 0 and names[v] != "input" for v in g):
        return False
    if any(g.out_degree(v) == 0 and names[v] != "output" for v in g):
        return False
    if space.name == "enas":
        return all(nx.has_path(g, i, i + 1) for i in range(n - 2)) and g.in_degree(n - 1) >= 1
    if space.name == "nasbench201":
        return names[0] == "input" and names[-1] == "output"
    kept = sorted((nx.descendants(g, 0) | {0}) & (nx.ancestors(g, n - 1) | {n - 1}))
    if len(kept) < 2:
        return False
    names, pruned = [names[v] for v in kept], g.subgraph(kept)
    inner = set(names[1:-1]) <= {"conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"}
    ends = (names[0], names[-1]) == ("input", "output")
    return ends and inner and len(kept) <= 7 and pruned.number_of_edges() <= 9


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_a_literal_reading_agrees(space):
    """On graphs with few faults and many: ends kept or not, the chain forced or not."""
    rng = stream(0, "graphs")
    wild = [uniform_graphs(space.layout.freed(keep_ends=k), 1500, rng=rng) for k in (True, False)]
    chained = wild[0].adj | torch.ones_like(wild[0].adj).triu(1).tril(1)
    chained &= torch.rand(chained.shape, generator=rng) < 0.9
    near = ArchitectureBatch.masked(wild[0].ops, chained, wild[0].num_nodes)
    archs = ArchitectureBatch.cat([*wild, near])
    sizes = archs.num_nodes.tolist()
    expected = [
        literally(space, archs.ops[i, :n].tolist(), archs.adj[i, :n, :n].int().numpy())
        for i, n in enumerate(sizes)
    ]
    assert published_validity(space, archs).tolist() == expected
    assert 100 < sum(expected) < len(expected) - 100
