import pytest
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers import mutation
from netwright.searchers.mutation import mutants, mutate
from netwright.spaces.enas import ENAS
from netwright.spaces.listed import Listed
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

CELLS = NASBench101()


def full_cells(n, *, rng):
    """NAS-Bench-101 cells of 7 nodes, some more than once."""
    archs = CELLS.sample(2000, rng=rng)
    archs = archs[archs.num_nodes == 7]
    return archs[torch.arange(n) % len(archs)]


SPACES = {
    "nasbench101": (full_cells, CELLS, 1.0),
    "nasbench201": (NASBench201().sample, NASBench201(), 0.0),
    "enas": (ENAS().sample, ENAS(), 1.0),
    "toy": (Toy().sample, Toy(), 0.0),
}


@pytest.mark.parametrize(("sample", "space", "edges"), SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_one_edge_and_one_operation_change_on_average(sample, space, edges, rate):
    archs = sample(2000, rng=stream(0, "archs"))
    found = mutate(archs, space.layout, rng=stream(0, "mutation"), rate=rate)
    flipped = (found.adj ^ archs.adj).flatten(1).sum(dim=1).float()
    replaced = (found.ops != archs.ops).sum(dim=1).float()
    assert flipped.mean() == pytest.approx(rate * edges, abs=0.1)  # standard error about 0.03
    assert replaced.mean() == pytest.approx(rate, abs=0.1)
    assert not edges or flipped.max() > 2, "edges change independently of each other"


def test_every_free_edge_and_every_other_operation_comes_up_equally_often():
    arch = full_cells(1, rng=stream(0, "archs"))[torch.zeros(8_000, dtype=torch.long)]
    found = mutate(arch, CELLS.layout, rng=stream(0, "mutation"))
    flipped = (found.adj ^ arch.adj).float().mean(dim=0)
    above = torch.ones(7, 7).triu(1).bool()
    torch.testing.assert_close(flipped[above], torch.full((21,), 1 / 21), atol=0.01, rtol=0)
    assert not flipped[~above].any()
    for node in range(1, 6):
        share = torch.nn.functional.one_hot(found.ops[:, node], 5).float().mean(dim=0)
        expected = torch.tensor([0.0, 0.1, 0.1, 0.1, 0.0])
        expected[arch.ops[0, node]] = 0.8
        torch.testing.assert_close(share, expected, atol=0.015, rtol=0)
    assert bool((found.ops[:, [0, 6]] == torch.tensor([0, 4])).all())


def test_small_cells_are_filled_up_with_nodes_on_no_path():
    archs = CELLS.sample(500, rng=stream(0, "archs"))
    archs = archs[archs.num_nodes < 7]
    full = mutation._filled_up(archs, CELLS.layout, rng=stream(0, "fill"))
    assert bool((full.num_nodes == 7).all())
    assert bool(((full.ops[:, 1:-1] >= 1) & (full.ops[:, 1:-1] <= 3)).all())
    assert bool(CELLS.simplify(full).equal(archs).all())
    assert (full.num_edges - archs.num_edges).float().mean() > 1, "with edges of their own"
    whole = full_cells(20, rng=stream(0, "archs"))
    assert bool(mutation._filled_up(whole, CELLS.layout, rng=stream(0, "x")).equal(whole).all())


def test_small_cells_grow_and_large_ones_shrink():
    smallest = CELLS.from_text(["input,output:0100"])
    grown = mutants(CELLS, smallest, 300, rng=stream(0, "mutation")).num_nodes
    assert grown.min() == 2
    assert grown.max() >= 4
    whole = full_cells(1, rng=stream(0, "archs"))
    assert mutants(CELLS, whole, 300, rng=stream(0, "mutation")).num_nodes.unique().numel() > 2


def test_mutants_are_valid_and_as_many_as_asked_for():
    arch = CELLS.sample(1, rng=stream(0, "archs"))
    found = mutants(CELLS, arch, 100, rng=stream(0, "mutation"))
    assert len(found) == 100
    assert bool(CELLS.is_valid(found).all())
    assert bool(CELLS.simplify(found).equal(found).all())


def test_mutants_are_few_where_hardly_any_is_valid():
    space = NASBench201()
    here, far = (space.cells(torch.tensor([[op] * 6])) for op in (1, 5))
    part = Listed(space, far)
    assert len(mutants(part, here, 20, rng=stream(0, "mutation"))) < 20
    assert len(mutants(part, far, 20, rng=stream(0, "mutation"))) == 20, "some are the parent"


def test_graphs_that_end_early_stay_as_long_as_they_are():
    layout = Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3)
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    arch = ArchitectureBatch(torch.tensor([[0, 1, 3, 0]]), adj, torch.tensor([3]))
    found = mutate(arch[torch.zeros(500, dtype=torch.long)], layout, rng=stream(0, "mutation"))
    assert bool((found.num_nodes == 3).all())
    assert bool((found.ops[:, 2] == 3).all())
    assert found.ops[:, 1].unique().tolist() == [2], "the only choice: with probability 1"
    assert not found.adj[:, 3].any()
    assert not found.adj[:, :, 3].any()


def test_the_rng_decides():
    archs = CELLS.sample(50, rng=stream(0, "archs"))
    one, two, other = (mutate(archs, CELLS.layout, rng=stream(s, "m")) for s in (0, 0, 1))
    assert bool(one.equal(two).all())
    assert not bool(one.equal(other).all())
    assert len(mutate(archs[:0], CELLS.layout, rng=stream(0, "m"))) == 0
