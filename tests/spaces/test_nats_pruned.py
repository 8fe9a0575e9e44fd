"""NAS-Bench-201's cells without `none`: which nodes stay, which graphs there are."""

from itertools import pairwise

import pytest
import torch

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench201 import CELL_EDGES, NASBench201
from netwright.spaces.nats_pruned import NATSPruned, pruned, without_skips

SPACE, CELLS = NATSPruned(), NASBench201()
NAMES = dict(zip("13ps.", [*SPACE.op_names[1:5], "none"], strict=True))


def _cell(ops):
    """A cell from its operations on 0>1, 0>2, 1>2, 0>3, 1>3, 2>3."""
    row = [CELLS.op_names.index(NAMES[op]) for op in ops]
    return CELLS.cells(torch.tensor([row]))


def _text(archs):
    return [text.replace("nor_conv_", "c").replace("skip_connect", "s").replace("avg_pool_3x3", "p")
            for text in SPACE.to_text(archs)]  # fmt: skip


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ("...3..", "input,c3x3,output:010001000"),
        ("13p1s3", "input,c1x1,c3x3,p,c1x1,s,c3x3,output:"
         "01101000" "00010100" "00000010" "00000010" "00000001" "00000001" "00000001" "00000000"),
        ("3..1..", "input,c1x1,output:010001000"),  # 0>1 leads nowhere
        (".....3", "input,output:0000"),  # nothing feeds it
        ("......", "input,output:0000"),
        ("..p1.3", "input,c1x1,output:010001000"),  # a chain that nothing feeds
        ("1.p..s", "input,c1x1,p,s,output:0100000100000100000100000"),
        ("13....", "input,output:0000"),
        (".s...1", "input,s,c1x1,output:0100001000010000"),
    ],
    ids=["one", "all", "dead end", "unfed", "none", "unfed chain", "chain", "no path", "skip"],
)  # fmt: skip
def test_pruning_by_hand(ops, text):
    arch = pruned(_cell(ops))
    assert _text(arch) == [text]
    assert bool(SPACE.is_valid(arch)[0]) == (":0000" not in text)


def test_every_cell_keeps_what_its_live_paths_use():
    """A cell has four paths from input to output; one is alive if nothing on it is `none`."""
    graphs = pruned(CELLS.enumerate())
    paths = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]
    number = {edge: 1 + i for i, edge in enumerate(CELL_EDGES)}
    rows = CELLS.enumerate().ops.tolist()
    for i, ops in enumerate(rows):
        walks = [[0, *(number[edge] for edge in path), 7] for path in paths]
        live = [walk for walk in walks if all(CELLS.op_names[ops[v]] != "none" for v in walk)]
        nodes = sorted({0, 7}.union(*live))
        edges = {(a, b) for walk in live for a, b in pairwise(walk)}
        n = len(nodes)
        assert int(graphs.num_nodes[i]) == n
        names = [SPACE.op_names[op] for op in graphs.ops[i, :n].tolist()]
        assert names == [CELLS.op_names[ops[v]] for v in nodes]
        assert {(nodes[a], nodes[b]) for a, b in graphs.adj[i].nonzero().tolist()} == edges


def test_the_released_rule_comes_to_the_same():
    """[GNN2GNN], released: drop interior nodes of fewer than two edges, again and again."""
    archs = CELLS.enumerate()
    edges = archs.adj[0].nonzero().tolist()
    graphs = pruned(archs)
    for i, ops in enumerate(archs.ops.tolist()):
        nodes = {v for v in range(8) if CELLS.op_names[ops[v]] != "none"}
        while True:
            degree = dict.fromkeys(nodes, 0)
            for a, b in edges:
                if a in nodes and b in nodes:
                    degree[a], degree[b] = degree[a] + 1, degree[b] + 1
            loose = {v for v in nodes - {0, 7} if degree[v] < 2}
            if not loose:
                break
            nodes -= loose
        kept = [CELLS.op_names[ops[v]] for v in sorted(nodes)]
        mine = graphs.ops[i, : int(graphs.num_nodes[i])].tolist()
        assert [SPACE.op_names[op] for op in mine] == kept


def test_how_many_graphs_there_are():
    graphs = pruned(CELLS.enumerate())
    joined = graphs[graphs.num_edges > 0]
    assert len(graphs) - len(joined) == 341
    distinct = len(hashing.distinct(SPACE.keys(joined)))
    assert distinct == len(SPACE.enumerate()) == SPACE.size == 8_764
    assert len(hashing.distinct(hashing.labelled_keys(joined))) == 9_364
    short = without_skips(joined)
    assert len(hashing.distinct(hashing.keys(short))) == 5_256
    assert len(hashing.distinct(hashing.labelled_keys(short))) == 6_604, "the paper's 7K"
    assert SPACE.enumerate().num_nodes.bincount()[3:].tolist() == [4, 16, 128, 904, 3_616, 4_096]


def test_members_are_the_pruned_cells_and_nothing_else():
    graphs = pruned(CELLS.enumerate())
    assert torch.equal(SPACE.is_valid(graphs), graphs.num_edges > 0)
    # Alike in every rule of the layout, but no cell has two paths of one operation and one more.
    foreign = SPACE.from_text(["input,nor_conv_1x1,output:011001000"])
    assert SPACE.layout.rules(foreign)["every node lies on a path from input to output"].all()
    assert SPACE.invalid_reason(foreign).endswith("is a pruned cell of nasbench201")


def test_two_cells_of_one_graph():
    """A chain of two may run through either inner node of the cell."""
    a, b = pruned(_cell("3...1.")), pruned(_cell(".3...1"))
    assert torch.equal(SPACE.keys(a), SPACE.keys(b))


def test_neighbours_are_pruned_cells_one_operation_away():
    """Against all pairs of cells, told from how many operations differ."""
    cells = CELLS.enumerate()
    graphs = pruned(cells)
    key = hashing.to_hex(SPACE.keys(graphs))
    joined = (graphs.num_edges > 0).tolist()
    for arch in (SPACE.sample(3, rng=stream(0, "some"))[i : i + 1] for i in range(3)):
        own = hashing.to_hex(SPACE.keys(arch))[0]
        expected = set()
        for i in (i for i, k in enumerate(key) if k == own):
            one = ((cells.ops != cells.ops[i]).sum(dim=1) == 1).nonzero()[:, 0].tolist()
            expected |= {key[j] for j in one if joined[j]}
        assert set(hashing.to_hex(SPACE.keys(SPACE.neighbours(arch)))) == expected - {own}


def test_neighbours_can_lose_nodes_and_gain_them():
    arch = pruned(_cell("3..s1."))  # input, 3x3 and then 1x1, skip beside them, output
    near = SPACE.neighbours(arch)
    assert set(near.num_nodes.tolist()) == {3, 4, 5, 7, 8}
    for i in (0, len(near) - 1):
        back = SPACE.keys(SPACE.neighbours(near[i : i + 1]))
        assert (back == SPACE.keys(arch)).all(dim=1).any()


def test_a_stranger_has_no_neighbours():
    foreign = SPACE.from_text(["input,nor_conv_1x1,output:011001000"])
    with pytest.raises(ValueError, match="no neighbours of a graph not in nats_pruned"):
        SPACE.neighbours(foreign)


def test_samples_are_uniform_over_graphs():
    archs = SPACE.sample(40_000, rng=stream(0, "samples"))
    share = archs.num_nodes.bincount(minlength=9)[3:] / len(archs)
    expected = SPACE.enumerate().num_nodes.bincount(minlength=9)[3:] / SPACE.size
    assert ((share - expected).abs() < 0.01).all()
    number = hashing.find(hashing.distinct(SPACE.keys(SPACE.enumerate())), SPACE.keys(archs))
    count = number.bincount(minlength=SPACE.size)
    assert (count == 0).float().mean() < 0.02, "each comes up e^-4.6 = 1 % of the time never"


def _short(archs):
    """Skips replaced by their definition: an edge wherever a path passes through skips only."""
    skip = SPACE.op_names.index("skip_connect")
    for b in range(len(archs)):
        n = int(archs.num_nodes[b])
        ops, edges = archs.ops[b, :n].tolist(), archs.adj[b].nonzero().tolist()

        def reach(v, ops=ops, edges=edges):
            for a, c in edges:
                if a == v:
                    yield from reach(c) if ops[c] == skip else [c]

        kept = [v for v in range(n) if ops[v] != skip]
        yield (
            [ops[v] for v in kept],
            {(i, kept.index(c)) for i, v in enumerate(kept) for c in reach(v)},
        )


def test_skips_become_edges():
    archs = SPACE.enumerate()[::7]
    short = without_skips(archs)
    for b, (ops, edges) in enumerate(_short(archs)):
        assert short.ops[b, : len(ops)].tolist() == ops
        assert int(short.num_nodes[b]) == len(ops)
        assert {tuple(edge) for edge in short.adj[b].nonzero().tolist()} == edges
    cleared = ArchitectureBatch.masked(short.ops, short.adj, short.num_nodes)
    assert cleared.equal(short).all()


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ("...s..", "input,output:0100"),
        (".s.s.s", "input,output:0100"),  # three skips, one edge
        (".1.s..", "input,output:0100"),
        ("s.3s.s", "input,c3x3,output:011001000"),
        ("1.s..3", "input,c1x1,c3x3,output:0100001000010000"),
    ],
    ids=["skip", "skips", "dead end", "before and after", "between"],
)
def test_skips_by_hand(ops, text):
    assert _text(without_skips(pruned(_cell(ops)))) == [text]


def test_without_skips_leaves_the_rest_and_its_argument():
    archs = SPACE.enumerate()[:500]
    before = archs.adj.clone()
    short = without_skips(archs)
    assert torch.equal(archs.adj, before)
    assert without_skips(short).equal(short).all()


def test_only_cells_are_pruned():
    with pytest.raises(ValueError, match="architecture 2 is not in nasbench201; rule broken"):
        pruned(ArchitectureBatch.cat([_cell("3.3.3."), SPACE.enumerate()[:1]]))
    assert len(pruned(CELLS.enumerate()[:0])) == 0
