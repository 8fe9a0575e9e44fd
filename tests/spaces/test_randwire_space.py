"""RandWire: any wiring of a cell's nodes, one cell or one for each stage."""

import pytest
import torch

from netwright.graphs import dag, hashing
from netwright.rng import stream
from netwright.spaces.randwire import RandWire


def test_every_wiring_is_a_member_and_known_up_to_isomorphism():
    space = RandWire(4)
    pairs = [(i, j) for j in range(4) for i in range(j)]
    texts = []
    for bits in range(2**6):
        edges = sorted(pair for k, pair in enumerate(pairs) if bits >> k & 1)
        texts.append("4:" + ",".join(f"{i}-{j}" for i, j in edges))
    archs = space.parse(texts)
    assert space.to_text(archs) == texts
    assert len(hashing.first_of_each(space.keys(archs))) == 31  # unlabelled DAGs, OEIS A003087


def test_edges_of_a_text_are_those_of_the_graph():
    [text] = ["5:0-1,0-4,2-3"]
    arch = RandWire(5).parse([text])
    assert arch.adj[0].nonzero().tolist() == [[0, 1], [0, 4], [2, 3]]


@pytest.mark.parametrize("nodes", [4, 9, 32])
def test_samples_have_four_neighbours_a_node_where_there_are_enough(nodes):
    edges = RandWire(nodes).sample(2000, rng=stream(0, "x")).adj.sum(dim=(1, 2)).double()
    wanted = min(2 * nodes, nodes * (nodes - 1) / 4)
    assert abs(float(edges.mean()) - wanted) < 5 * float(edges.std()) / 2000**0.5


def test_edges_of_32_nodes_appear_equally_often():
    adj = RandWire(32).sample(4000, rng=stream(0, "x")).adj.double().mean(dim=0)
    chance, upper = 4 / 31, torch.ones(32, 32).triu(diagonal=1).bool()
    assert (adj[upper] - chance).abs().max() < 5 * (chance * (1 - chance) / 4000) ** 0.5
    assert not adj[~upper].any()


class TestCells:
    SPACE = RandWire(3, cells=2)

    def test_are_written_one_after_the_other(self):
        arch = self.SPACE.parse(["3:0-1;3:0-2,1-2"])
        assert arch.ops.tolist() == [[0, 0, 0, 1, 1, 1]]
        assert arch.adj[0].nonzero().tolist() == [[0, 1], [3, 5], [4, 5]]
        first, second = self.SPACE.split(arch)[0]
        assert first.nonzero().tolist() == [[0, 1]]
        assert second.nonzero().tolist() == [[0, 2], [1, 2]]
        assert self.SPACE.to_text(arch) == ["3:0-1;3:0-2,1-2"]

    def test_no_edge_runs_between_them(self):
        free = self.SPACE.layout.free
        assert int(free.sum()) == 6
        assert not free[:3, 3:].any()
        broken = self.SPACE.parse(["3:0-1;3:"])
        broken.adj[0, 0, 4] = True
        assert not self.SPACE.is_valid(broken).any()

    def test_exchanged_are_another_architecture(self):
        one, other = self.SPACE.keys(self.SPACE.parse(["3:0-1;3:0-1,1-2", "3:0-1,1-2;3:0-1"]))
        assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4:1-0", "edge 1-0 does not run forward"),
        ("4:0-4", "edge 0-4 does not run forward"),
        ("5:0-1", "not of the form '4:0-1,...'"),
        ("4:0-1,", "not of the form"),
    ],
)
def test_unreadable_text(text, message):
    with pytest.raises(ValueError, match=message):
        RandWire(4).from_text([text])


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_needs_a_node_and_a_cell(sizes):
    with pytest.raises(ValueError, match="a cell a node, at least"):
        RandWire(*sizes)


def test_with_ends_adds_what_is_implied():
    """A chain 0-1 beside a node 2 that nothing connects: both begin at the input."""
    space = RandWire(3)
    full, names = space.with_ends(space.from_text(["3:0-1", "3:"]))
    assert names == ("input", "conv", "mean", "output")
    edges = [sorted(map(tuple, adj.nonzero().tolist())) for adj in full.adj]
    assert edges[0] == [(0, 1), (0, 3), (1, 2), (2, 4), (3, 4)]
    assert edges[1] == [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)]
    assert [names[op] for op in full.ops[0].tolist()] == ["input", *["conv"] * 3, "output"]


def test_with_ends_of_several_cells_is_a_chain_of_them():
    space = RandWire(2, 2)
    full, names = space.with_ends(space.from_text(["2:0-1;2:"]))
    words = [names[op] for op in full.ops[0].tolist()]
    assert words == ["input", "conv.1", "conv.1", "mean", "conv.2", "conv.2", "output"]
    edges = sorted(map(tuple, full.adj[0].nonzero().tolist()))
    assert edges == [(0, 1), (1, 2), (2, 3), (3, 4), (3, 5), (4, 6), (5, 6)]
    assert int(dag.longest_path(full)[0]) == 5
    everything = space.with_ends(space.sample(50, rng=stream(0, "archs")))[0]
    assert dag.on_path(everything).all()
