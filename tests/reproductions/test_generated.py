"""Measures of generated architectures: by hand, and against plain Python."""

import math
import os
from itertools import permutations
from pathlib import Path

import pytest
import torch

from netwright.config.adversarial import labelled
from netwright.generators.labelled import Labelled
from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.generated import Yardstick, measure, on_paths
from netwright.rng import stream
from netwright.spaces.base import uniform_graphs
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table
from netwright.tables.splits import nested, split

SPACE = NASBench101(max_nodes=5, max_edges=7)
METRIC = "cifar10/test@108"
NAN = math.nan


def graph(ops, edges):
    n = len(ops)
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for source, target in edges:
        adj[0, source, target] = True
    return ArchitectureBatch(torch.tensor([ops]).long(), adj, torch.tensor([n])).pad(5)


def write(path, archs, accuracy, parameters=None, *, unit="fraction"):
    columns = {METRIC: Column(accuracy, unit)}
    if parameters is not None:
        columns["parameters"] = Column(parameters, "count")
    return Table.write(path, SPACE, Rows(archs, columns, "", ""))


def relabelled(archs, seed=0):
    """The same graphs in another topological order of their nodes."""
    return dag.reorder(archs, dag.random_order(archs, rng=stream(seed, "orders")))


CHAINS = [graph([0, a, b, 4], [(0, 1), (1, 2), (2, 3)]) for a in (1, 2, 3) for b in (1, 2, 3)]
CHAINS.append(graph([0, 4], [(0, 1)]))
ACCURACY = [0.80, 0.85, 0.88, 0.895, 0.90, 0.91, 0.92, 0.93, 0.94, 0.945]  # the best one is last
BEST, NINETY, WEAK = CHAINS[9], CHAINS[4], CHAINS[1]
LEFT = graph([0, 1, 2, 4], [(0, 1), (0, 2), (1, 3), (2, 3)])
RIGHT = graph([0, 2, 1, 4], [(0, 1), (0, 2), (1, 3), (2, 3)])
DENSE = graph([0, 1, 1, 1, 4], [(i, j) for j in range(5) for i in range(j)])  # 10 edges
LOOSE = graph([0, 1, 4], [(0, 2)])
MADE = ArchitectureBatch.cat([BEST, NINETY, WEAK, DENSE, LEFT, RIGHT, LOOSE, BEST])


@pytest.fixture
def table(tmp_path):
    archs = ArchitectureBatch.cat(CHAINS)
    return write(tmp_path / "t", archs, torch.tensor(ACCURACY), 1e6 * torch.arange(10.0).double())


class TestByHand:
    """Ten architectures, and eight graphs that were generated."""

    def test_all_measures(self, table):
        train_keys = hashing.distinct(hashing.keys(ArchitectureBatch.cat([WEAK, LEFT])))
        yardstick = Yardstick.of(table, METRIC, "parameters")
        found = measure(MADE, SPACE, yardstick, train_keys)
        expected = {
            "novelty": 100 * 4 / 8,  # BEST, BEST, NINETY, DENSE
            "top-5": 0.0,  # the best of ten is the best 10 %
            "top-10": 100 * 2 / 8,
            "top-50": 100 * 2 / 8,  # NINETY is the sixth
            "acc_90": 100 * 2 / 4,
            "mean accuracy": (2 * 94.5 + 90 + 85) / 4,
            "distinct": 1000 * 3 / 8,
            "validity": 100 * 6 / 8,  # but DENSE and LOOSE
            "uniqueness": 100 * 3 / 7,  # NINETY, WEAK, DENSE
            "in table": 100 * 4 / 8,
            "mean parameters": 1e6 * (9 + 9 + 4 + 1) / 4,
            "best accuracy": 94.5,
        }
        assert found.percent() == pytest.approx(expected)
        assert list(found.percent()) == list(expected)
        assert found.on_paths == 7 / 8
        assert found.different == 5 / 7

    def test_another_threshold(self, table):
        found = measure(MADE, SPACE, Yardstick.of(table, METRIC), empty(), threshold=0.875)
        assert found.percent()["acc_87.5"] == 100 * 3 / 4
        assert "acc_90" not in found.percent()

    def test_each_graph(self, table):
        yardstick = Yardstick.of(table, METRIC, "parameters")
        looked = yardstick.look_up(SPACE.keys(MADE))
        outside = torch.tensor([False, False, False, True, True, True, True, False])
        assert torch.equal(looked.rows < 0, outside)
        same(looked.accuracy, [0.945, 0.9, 0.85, NAN, NAN, NAN, NAN, 0.945])
        same(looked.percentile, [0.1, 0.6, 0.9, NAN, NAN, NAN, NAN, 0.1])
        same(looked.parameters, [9e6, 4e6, 1e6, NAN, NAN, NAN, NAN, 9e6])
        inside = looked.rows[~outside]
        assert table.archs(inside).pad(5).equal(MADE[~outside]).all()

    def test_nothing_is_known(self, table):
        yardstick = Yardstick.of(table, METRIC, "parameters")
        strange = ArchitectureBatch.cat([LOOSE, graph([4, 4], [(0, 1)])])
        found = measure(strange, SPACE, yardstick, empty())
        assert (found.novelty, found.top_50, found.distinct, found.validity) == (0, 0, 0, 0)
        undefined = (found.above, found.mean_accuracy, found.best_accuracy, found.uniqueness)
        assert all(map(math.isnan, undefined))

    def test_without_parameters(self, table):
        found = measure(MADE, SPACE, Yardstick.of(table, METRIC), empty())
        assert math.isnan(found.percent()["mean parameters"])

    def test_what_was_not_measured_is_unknown(self, tmp_path):
        archs, accuracy = ArchitectureBatch.cat(CHAINS), torch.tensor(ACCURACY)
        accuracy[4:8] = NAN  # NINETY among them; six are ranked
        table = write(tmp_path / "t", archs, accuracy, torch.arange(10.0).double())
        yardstick = Yardstick.of(table, METRIC, "parameters")
        found = measure(MADE, SPACE, yardstick, empty())
        assert found.in_table == 3 / 8
        assert found.top_10 == 0  # the best of six
        assert found.top_50 == 2 / 8
        assert found.distinct == 2 / 8
        assert found.mean_accuracy == pytest.approx((2 * 0.945 + 0.85) / 3)
        assert found.mean_parameters == pytest.approx((9 + 9 + 1) / 3)


def empty():
    return torch.zeros(0, 2, dtype=torch.long)


def same(found, expected):
    assert found.tolist() == pytest.approx(expected, rel=1e-6, nan_ok=True)


def canonical(archs, i):
    """The smallest drawing of one graph: all orders of its nodes are tried."""
    n = int(archs.num_nodes[i])
    ops, adj = archs.ops[i].tolist(), archs.adj[i].tolist()
    return min(
        (tuple(ops[a] for a in order), tuple(adj[a][b] for a in order for b in order))
        for order in permutations(range(n))
    )


def joined(archs, i):
    """Whether every node lies on a path, by walking; input first, output last, none between."""
    n, adj = int(archs.num_nodes[i]), archs.adj[i].tolist()
    ops = archs.ops[i, :n].tolist()
    if n < 2 or ops[0] != 0 or ops[-1] != 4 or {0, 4} & set(ops[1:-1]):
        return False

    def walk(node, step):
        reached = {node}
        while more := {b for a in reached for b in range(n) if step(a, b)} - reached:
            reached |= more
        return reached

    return walk(0, lambda a, b: adj[a][b]) == walk(n - 1, lambda a, b: adj[b][a]) == set(range(n))


def plain(archs, members, accuracy, parameters, training, threshold):
    """All measures, one graph at a time."""
    drawn = range(len(archs))
    name = [canonical(archs, i) for i in drawn]
    table = {canonical(members, i): i for i in range(len(members))}
    known_names = {canonical(training, i) for i in range(len(training))}
    paths = [i for i in drawn if joined(archs, i)]
    known = [i for i in drawn if name[i] in table]
    score = {i: float(accuracy[table[name[i]]]) for i in known}
    rank = {i: sum(float(a) >= score[i] for a in accuracy) for i in known}

    def top(percent):
        return 100 * sum(100 * r <= percent * len(members) for r in rank.values()) / len(archs)

    counts = [name[j] for j in paths]
    return {
        "novelty": 100 * sum(name[i] not in known_names for i in paths) / len(archs),
        "top-5": top(5),
        "top-10": top(10),
        "top-50": top(50),
        f"acc_{100 * threshold:g}": 100 * sum(s > threshold for s in score.values()) / len(known),
        "mean accuracy": 100 * sum(score.values()) / len(known),
        "distinct": 1000 * len({name[i] for i in known}) / len(archs),
        "validity": 100 * sum(int(archs.num_edges[i]) <= 7 for i in paths) / len(archs),
        "uniqueness": 100 * sum(counts.count(name[i]) == 1 for i in paths) / len(paths),
        "in table": 100 * len(known) / len(archs),
        "mean parameters": sum(float(parameters[table[name[i]]]) for i in known) / len(known),
        "best accuracy": 100 * max(score.values()),
    }


class TestPlainPython:
    """A few hundred graphs, some good, some not members, many twice."""

    def made(self, members, n=300):
        rng = stream(1, "made")
        picked = members[torch.randint(len(members), (n // 2,), generator=rng)]
        wild = uniform_graphs(SPACE.layout.freed(keep_ends=True), n // 4, rng=rng)
        dense = dag.prune(uniform_graphs(SPACE.layout, n // 4, rng=rng))
        return ArchitectureBatch.cat([relabelled(picked), wild, dense])

    @pytest.fixture
    def setting(self, tmp_path):
        rng, cells = stream(0, "table"), SPACE.enumerate()
        members = cells[torch.randperm(len(cells), generator=rng)[:200]]
        accuracy = torch.randint(80, (200,), generator=rng) / 80  # many equal
        parameters = torch.randint(10**8, (200,), generator=rng).double()
        table = write(tmp_path / "t", members, accuracy, parameters)
        return table, members, accuracy, parameters

    def test_all_measures(self, setting):
        table, members, accuracy, parameters = setting
        made, training = self.made(members), relabelled(members[:90], 2)
        yardstick = Yardstick.of(table, METRIC, "parameters")
        train_keys = hashing.distinct(hashing.keys(training))
        found = measure(made, SPACE, yardstick, train_keys, threshold=0.551).percent()
        expected = plain(made, members, accuracy, parameters, training, 0.551)
        assert found == pytest.approx(expected)
        shares = [expected[name] for name in ("novelty", "top-5", "validity", "in table")]
        assert all(0 < share < 100 for share in shares)  # something is at stake

    def test_the_order_of_nodes_does_not_matter(self, setting):
        table, members, *_ = setting
        made, yardstick = self.made(members), Yardstick.of(table, METRIC)
        made = made[on_paths(SPACE, made)]  # others may have an edge to their first node
        moved = relabelled(made, 3)
        assert not moved.equal(made).all()
        keys = hashing.distinct(hashing.keys(members[:90]))
        ours, theirs = (measure(archs, SPACE, yardstick, keys) for archs in (made, moved))
        assert str(ours) == str(theirs)  # NaN included
        shuffled = made[torch.randperm(len(made), generator=stream(0, "shuffled"))].pad(8)
        assert measure(shuffled, SPACE, yardstick, keys).percent() == pytest.approx(
            ours.percent(), nan_ok=True
        )

    def test_paths(self, setting):
        made = self.made(setting[1])
        expected = [joined(made, i) for i in range(len(made))]
        assert on_paths(SPACE, made).tolist() == expected
        assert 0 < sum(expected) < len(expected)


class TestPaths:
    """Which graphs refinement may leave."""

    def test_by_hand(self):
        assert on_paths(SPACE, MADE).tolist() == [True] * 6 + [False, True]
        assert not on_paths(SPACE, graph([0], [])).any()
        assert not on_paths(Toy(), graph([0], [])).any()  # whatever ends its graphs
        assert not on_paths(SPACE, graph([], [])).any()
        assert not on_paths(SPACE, graph([0, 4], [])).any()
        assert not on_paths(SPACE, graph([0, 0, 4], [(0, 1), (1, 2)])).any()
        assert not on_paths(SPACE, graph([1, 1, 4], [(0, 1), (1, 2)])).any()
        assert not on_paths(SPACE, graph([0, 1, 1], [(0, 1), (1, 2)])).any()

    @pytest.mark.parametrize(
        "space", [NASBench101(), NASBench201(), Toy()], ids=lambda space: space.name
    )
    def test_members(self, space):
        assert on_paths(space, space.sample(50, rng=stream(0, "members"))).all()


class TestSplits:
    """Labels to learn from, and a yardstick that knows no others."""

    @pytest.fixture
    def big(self, tmp_path):
        cells = SPACE.enumerate()[:400]
        return write(tmp_path / "t", cells, torch.rand(400, generator=stream(0, "accuracy")))

    def test_what_training_gets(self, big):
        outer = split(big, METRIC, rng=stream(0, "split"))
        data = labelled(outer)
        assert isinstance(data, Labelled)
        assert set(vars(data)) == {"archs", "scores"}
        rows = big.lookup(hashing.keys(data.archs))
        assert torch.equal(data.scores, big.column(METRIC)[rows])
        assert not set(rows.tolist()) & set(outer.held_out_rows.tolist())

    def test_a_planted_label_is_refused(self, big):
        outer = split(big, METRIC, rng=stream(0, "split"))
        stolen = relabelled(big.archs(outer.top_rows[:1]))
        outer.train.ops[7], outer.train.adj[7] = stolen.pad(5).ops[0], stolen.pad(5).adj[0]
        outer.train.num_nodes[7] = stolen.num_nodes[0]
        with pytest.raises(ValueError, match=r"^1 of 270 labels are of held-out architectures"):
            labelled(outer)

    def test_training_rows_alone(self, big):
        outer = split(big, METRIC, rng=stream(0, "split"), limit=200)
        inner = nested(outer, rng=stream(0, "inner"))
        yardstick = Yardstick.within(outer)
        everything = big.archs(torch.arange(400))
        looked = yardstick.look_up(hashing.keys(everything))
        known = looked.rows >= 0
        assert set(known.nonzero()[:, 0].tolist()) == set(outer.train_rows.tolist())
        assert torch.equal(looked.accuracy[known], big.column(METRIC)[known])
        best = (looked.percentile <= 0.1).nonzero()[:, 0]
        assert set(best.tolist()) == set(inner.top_rows.tolist())
        found = measure(everything, SPACE, yardstick, inner.train_keys)
        assert found.in_table == 200 / 400
        assert found.top_10 == 20 / 400
        assert found.novelty == pytest.approx((400 - len(inner.train)) / 400)
        labelled(inner)

    def test_the_best_are_held_out_whatever_is_equal(self, tmp_path):
        """Nothing that counts as among the best 10 % is ever learned from."""
        cells = SPACE.enumerate()[:400]
        for seed in range(5):
            accuracy = torch.randint(30, (400,), generator=stream(seed, "accuracy")) / 30
            table = write(tmp_path / str(seed), cells, accuracy)
            outer = split(table, METRIC, rng=stream(0, "split"))
            looked = Yardstick.of(table, METRIC).look_up(outer.train_keys)
            assert not (looked.percentile <= 0.1).any()


class TestBadInput:
    """One clear line each."""

    def test_no_such_column(self, table):
        with pytest.raises(ValueError, match="no metric 'x'"):
            Yardstick.of(table, "x")
        with pytest.raises(ValueError, match="no metric 'y'"):
            Yardstick.of(table, METRIC, "y")

    def test_no_accuracy(self, table, tmp_path):
        with pytest.raises(ValueError, match=r"^parameters of .* is measured in count: choose an"):
            Yardstick.of(table, "parameters")
        none = write(tmp_path / "none", ArchitectureBatch.cat(CHAINS), torch.full((10,), NAN))
        with pytest.raises(ValueError, match=f"^{METRIC} has no value in any row of .*: choose"):
            Yardstick.of(none, METRIC)

    def test_nothing_generated(self, table):
        with pytest.raises(ValueError, match="no graphs were generated"):
            measure(MADE[:0], SPACE, Yardstick.of(table, METRIC), empty())

    def test_another_space(self, table):
        with pytest.raises(ValueError, match="of toy cannot be compared with those of nasbench101"):
            measure(Toy().enumerate(), Toy(), Yardstick.of(table, METRIC), empty())

    def test_training_keys_in_disorder(self, table):
        keys = hashing.distinct(hashing.keys(MADE)).flip(0)
        with pytest.raises(ValueError, match="ascending, each once"):
            measure(MADE, SPACE, Yardstick.of(table, METRIC), keys)


@pytest.mark.skipif("NETWRIGHT_TABLES" not in os.environ, reason="needs NETWRIGHT_TABLES")
def test_the_whole_of_nasbench101():
    path = Path(os.environ["NETWRIGHT_TABLES"]) / "nasbench101.safetensors"
    if not path.exists():
        pytest.skip("needs nasbench101.safetensors")
    space, table = NASBench101(), Table.open(path)
    yardstick = Yardstick.of(table, METRIC, "parameters")
    archs = space.sample(1000, rng=stream(0, "sample"))
    looked = yardstick.look_up(space.keys(archs))
    assert torch.equal(looked.rows, table.lookup(space.keys(archs)))
    assert torch.equal(looked.accuracy, table.column(METRIC)[looked.rows])
    found = measure(archs, space, yardstick, table.keys)
    assert (found.validity, found.in_table, found.novelty) == (1, 1, 0)
    best = yardstick.percentile.argmin()
    assert yardstick.percentile[best] == 1 / 423_624
    assert float(yardstick.accuracy[best]) == pytest.approx(0.9432, abs=5e-5)  # the paper's best
