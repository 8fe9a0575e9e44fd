"""Splits of tables: against plain Python, and that no label of a held-out row is to be had."""

import math
from dataclasses import fields

import pytest
import torch

from netwright.graphs import hashing
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table
from netwright.tables.splits import Split, nested, split

SPACE = NASBench101(max_nodes=5)
CELLS = SPACE.enumerate()[:211]
METRIC = "cifar10/test@108"


def accuracies(seed=0, *, holes=0, values=10**6):
    """Random, the first ones missing; few different values make many equal."""
    made = torch.randint(values, (len(CELLS),), generator=stream(seed, "values")) / values
    made[:holes] = math.nan
    return made


@pytest.fixture
def table_of(tmp_path):
    """Writes a table with given accuracies."""

    def write(accuracy):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        return Table.write(path, SPACE, Rows(CELLS, {METRIC: Column(accuracy)}, "", ""))

    return write


def divide(table, seed=0, **options):
    return split(table, METRIC, rng=stream(seed, "split"), **options)


def everything(found):
    """The rows of a split, part by part."""
    return [set(part.tolist()) for part in (found.train_rows, found.top_rows, found.random_rows)]


def same(a, b):
    """Whether two splits are the same."""
    ours, theirs = vars(a) | vars(a.train), vars(b) | vars(b.train)
    tensors = [name for name, value in ours.items() if isinstance(value, torch.Tensor)]
    return all(torch.equal(ours[name], theirs[name]) for name in tensors)


class TestSplit:
    """What is held out, and what is left."""

    @pytest.mark.parametrize("holes", [0, 11])
    @pytest.mark.parametrize("shares", [(0.1, 0.25), (0.5, 0.0), (0.0, 0.5), (0.9, 0.9)])
    def test_plain_python(self, table_of, holes, shares):
        table = table_of(accuracies(holes=holes))
        score = dict(enumerate(table.column(METRIC).tolist()))
        known = [row for row, value in score.items() if not math.isnan(value)]
        top = math.floor(shares[0] * len(known) + 1e-9)
        drawn = math.floor(shares[1] * (len(known) - top) + 1e-9)

        found = divide(table, hold_out_top=shares[0], hold_out_random=shares[1])
        best = sorted(known, key=lambda row: -score[row])[:top]
        assert found.top_rows.tolist() == best
        train, first, second = everything(found)
        assert len(second) == len(found.random_rows) == drawn
        assert len(train) == len(found.train_rows)
        assert not train & first
        assert not train & second
        assert not first & second
        assert train | first | second == set(known)
        assert found.held_out_rows.tolist() == sorted(first | second)

    def test_what_belongs_to_a_row(self, table_of):
        table = table_of(accuracies())
        found = divide(table)
        assert torch.equal(found.scores, table.column(METRIC)[found.train_rows])
        assert found.train.equal(table.archs(found.train_rows)).all()
        held_out = hashing.keys(table.archs(found.held_out_rows))
        assert torch.equal(hashing.distinct(held_out), found.held_out_keys)
        assert torch.equal(hashing.distinct(hashing.keys(found.train)), found.train_keys)
        assert (found.space_name, found.metric) == (SPACE.name, METRIC)

    def test_the_best_are_held_out(self, table_of):
        table = table_of(accuracies())
        found = divide(table)
        assert found.scores.max() < table.column(METRIC)[found.top_rows].min()
        assert not torch.equal(found.random_rows.sort().values, found.random_rows)  # it is random

    def test_equals_are_ranked_in_the_order_of_the_table(self, table_of):
        table = table_of(torch.full((len(CELLS),), 0.5))
        assert divide(table, hold_out_top=0.1).top_rows.tolist() == list(range(21))
        table = table_of(accuracies(values=3))
        score = table.column(METRIC).tolist()
        best = sorted(range(len(score)), key=lambda row: (-score[row], row))[:100]
        assert divide(table, hold_out_top=100.5 / 211).top_rows.tolist() == best

    @pytest.mark.parametrize("share", [0.29, 0.57, 0.58, 0.1, 0.3, 0.7, 0.999])
    def test_shares_are_rounded_down_but_not_too_far(self, table_of, share):
        values = accuracies()
        values[100:] = math.nan
        found = divide(table_of(values), hold_out_top=share, hold_out_random=0.0)
        assert len(found.top_rows) == math.floor(share * 1000 + 1e-6) // 10

    def test_limit(self, table_of):
        table = table_of(accuracies())
        whole, some, few = divide(table), divide(table, limit=50), divide(table, limit=20)
        assert len(some.train) == len(some.scores) == len(some.train_keys) == 50
        assert torch.equal(whole.train_rows[:50], some.train_rows)
        assert torch.equal(some.train_rows[:20], few.train_rows)
        assert torch.equal(whole.held_out_keys, few.held_out_keys)
        assert same(divide(table, limit=10**6), whole)

    def test_only_the_stream_is_drawn_from(self, table_of):
        table, before = table_of(accuracies()), torch.get_rng_state()
        assert same(divide(table), divide(table))
        assert not same(divide(table), divide(table, seed=1))
        assert torch.equal(before, torch.get_rng_state())


class TestNoLeak:
    """Held-out labels can be had from nothing that a split hands out."""

    def altered(self, table):
        """The accuracies, in the table's order of cells, with other ones for what is held out."""
        found, values = divide(table), table.column(METRIC).clone()
        values[found.top_rows] += 2 + torch.rand(len(found.top_rows))
        values[found.random_rows] = values[found.random_rows].flip(0) / 7
        return values

    def test_held_out_labels_change_nothing_else(self, table_of):
        table = table_of(accuracies())
        values = self.altered(table)
        places = table.lookup(hashing.keys(CELLS))
        other = table_of(values[places])
        assert not torch.equal(other.column(METRIC), table.column(METRIC))
        mine, theirs = divide(table), divide(other)
        assert torch.equal(mine.held_out_keys, theirs.held_out_keys)
        assert torch.equal(mine.scores, theirs.scores)
        assert torch.equal(mine.train_rows, theirs.train_rows)
        inner = [nested(outer, rng=stream(0, "inner")) for outer in (mine, theirs)]
        assert same(*inner)

    def test_nothing_of_the_table_is_kept(self, table_of):
        found = divide(table_of(accuracies()), limit=30)
        assert found.scores.untyped_storage().nbytes() == 30 * found.scores.element_size()
        kinds = {field.name: type(getattr(found, field.name)) for field in fields(Split)}
        assert Table not in kinds.values()
        floating = [
            name for name, value in vars(found).items()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        ]  # fmt: skip
        assert floating == ["scores"]


class TestNested:
    """The same rule on training rows."""

    def test_plain_python(self, table_of):
        table = table_of(accuracies(holes=3))
        score = table.column(METRIC).tolist()
        outer = divide(table, limit=100)
        inner = nested(outer, rng=stream(0, "inner"))
        train, top, random = everything(inner)
        rows = outer.train_rows.tolist()
        best = sorted(rows, key=lambda row: -score[row])[:10]
        assert inner.top_rows.tolist() == best
        assert (len(train), len(top), len(random)) == (68, 10, 22)
        assert train | top | random == set(rows)
        assert torch.equal(inner.scores, table.column(METRIC)[inner.train_rows])
        assert inner.train.equal(table.archs(inner.train_rows)).all()
        assert torch.equal(hashing.distinct(hashing.keys(inner.train)), inner.train_keys)

    def test_what_the_outer_one_holds_out_stays_so(self, table_of):
        table = table_of(accuracies())
        outer = divide(table)
        inner = nested(outer, rng=stream(0, "inner"), limit=40)
        both = torch.cat([outer.held_out_rows, inner.held_out_rows])
        expected = hashing.distinct(hashing.keys(table.archs(both)))
        assert torch.equal(inner.held_out_keys, expected)
        assert len(inner.train) == 40

    def test_twice(self, table_of):
        outer = divide(table_of(accuracies()))
        inner = nested(outer, rng=stream(0, "inner"))
        innermost = nested(inner, rng=stream(0, "innermost"), hold_out_top=0.5)
        assert set(innermost.top_rows.tolist()) <= set(inner.train_rows.tolist())
        assert innermost.scores.max() < inner.scores.median()


class TestBadInput:
    """One clear line each."""

    def test_no_such_metric(self, table_of):
        with pytest.raises(ValueError, match=f"no metric 'x' .* choose from {METRIC}"):
            split(table_of(accuracies()), "x", rng=stream(0, "split"))

    def test_no_value(self, table_of):
        with pytest.raises(ValueError, match=f"^{METRIC} has no value in any row of .*: choose"):
            divide(table_of(accuracies(holes=len(CELLS))))

    @pytest.mark.parametrize("name", ["hold_out_top", "hold_out_random"])
    @pytest.mark.parametrize("share", [-0.1, 1.0, 10.0, math.nan])
    def test_shares(self, table_of, name, share):
        table = table_of(accuracies())
        with pytest.raises(ValueError, match=f"give 0 <= {name} < 1, not {share}$"):
            divide(table, **{name: share})
        with pytest.raises(ValueError, match=name):
            nested(divide(table), rng=stream(0, "inner"), **{name: share})

    @pytest.mark.parametrize("limit", [0, -3])
    def test_limit(self, table_of, limit):
        with pytest.raises(ValueError, match=f"a limit of {limit} leaves no training rows"):
            divide(table_of(accuracies()), limit=limit)
