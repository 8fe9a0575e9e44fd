"""A full table predicted from a part of it, and what it says of itself."""

import json

import pytest
import torch

from netwright import metrics
from netwright.graphs import dag
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table
from netwright.tables.surrogate import Agreement, surrogate

SPACE = NASBench101(4, 5)
NAME, COST = "mine/valid@10", "parameters"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """All cells of up to four nodes; half of them measured, and counts of all."""
    archs = SPACE.enumerate()
    depth = (archs.ops == 2).sum(dim=1) + 0.3 * dag.longest_path(archs)
    score = 0.9 - 0.1 * torch.exp(-depth.double())
    score += 0.001 * torch.randn(len(archs), dtype=torch.double, generator=stream(0, "noise"))
    score[torch.randperm(len(archs), generator=stream(0, "part"))[::4]] = torch.nan
    columns = {NAME: Column(score), COST: Column(100 + archs.num_edges.double(), "count")}
    rows = Rows(archs, columns, "my lab", "MIT")
    return Table.write(tmp_path_factory.mktemp("tables") / "part.safetensors", SPACE, rows)


@pytest.fixture(scope="module")
def made(measured):
    return surrogate(measured, SPACE, [NAME], rows=50, runs=2, seed=3)


def test_every_architecture_has_a_prediction(made, measured):
    assert len(made.archs) == SPACE.size == len(measured)
    assert set(made.columns) == {
        "mine/valid@10",
        "mine/valid-sd@10",
        "mine/valid-low@10",
        "mine/valid-high@10",
        "mine/valid-spread@10",
        "mine/valid-run1@10",
        "mine/valid-run2@10",
    }
    assert all(bool(column.values.isfinite().all()) for column in made.columns.values())
    assert {column.unit for column in made.columns.values()} == {"fraction"}
    runs = [made.columns[f"mine/valid-run{i}@10"].values for i in (1, 2)]
    assert not torch.equal(*runs)


def test_the_table_says_what_it_is(made, measured, tmp_path):
    table = Table.write(tmp_path / "s.safetensors", SPACE, made)
    about = Table.open(table.path).surrogate
    assert about == json.loads(json.dumps(made.surrogate))
    assert table.info()["surrogate"] == about
    assert table.source == "surrogate of my lab"
    assert table.licence == "MIT"
    assert (about["of"], about["checksum"], about["seed"]) == ("my lab", measured.checksum, 3)
    assert about["keeps_measured"] is False
    facts = about["metrics"][NAME]
    assert facts["fitted_rows"] == 50
    assert facts["unseen"]["rows"] == 50
    assert facts["held_out"]["rows"] == int((~measured.column(NAME).isnan()).sum()) - 50
    assert measured.surrogate is None
    assert measured.info()["surrogate"] is None


def test_what_is_held_out_is_what_was_not_fitted(made, measured):
    predicted = made.columns[NAME].values
    row = measured.lookup(SPACE.keys(made.archs))
    truth = measured.column(NAME).double()[row]
    kept = surrogate(measured, SPACE, [NAME], rows=50, seed=3, keep_measured=True)
    fitted = kept.columns[NAME].values != predicted
    assert int(fitted.sum()) == 50
    assert torch.equal(kept.columns[NAME].values[fitted], truth[fitted])
    assert kept.surrogate["keeps_measured"] is True
    held = ~fitted & ~truth.isnan()
    facts = made.surrogate["metrics"][NAME]["held_out"]
    assert facts["tau"] == pytest.approx(metrics.kendall_tau(predicted[held], truth[held]))
    low, high = (made.columns[f"mine/valid-{end}@10"].values for end in ("low", "high"))
    inside = (low <= truth) & (truth <= high)
    assert facts["coverage"] == pytest.approx(float(inside[held].double().mean()))
    assert kept.surrogate["metrics"] == made.surrogate["metrics"]


def test_it_ranks(made):
    assert made.surrogate["metrics"][NAME]["held_out"]["tau"] > 0.4


def test_several_metrics(measured):
    both = surrogate(measured, SPACE, [COST, NAME])
    assert set(both.surrogate["metrics"]) == {NAME, COST}
    assert both.columns["parameters-sd"].unit == "count"
    facts = both.surrogate["metrics"][COST]
    assert facts["fitted_rows"] == len(measured)
    assert facts["held_out"] is None
    assert facts["unseen"]["tau"] > 0.7  # counts have ties, predictions have not
    one = surrogate(measured, SPACE, [NAME])
    assert torch.equal(one.columns[NAME].values, both.columns[NAME].values)


def test_it_depends_on_the_seed_alone(made, measured):
    again = surrogate(measured, SPACE, [NAME], rows=50, runs=2, seed=3)
    other = surrogate(measured, SPACE, [NAME], rows=50, seed=4)
    for name in made.columns:
        assert torch.equal(again.columns[name].values, made.columns[name].values)
    assert not torch.equal(other.columns[NAME].values, made.columns[NAME].values)


def test_of_another_table(made, measured, tmp_path):
    few = Rows(made.archs[10:20], {"x": Column(torch.zeros(10))}, "", "")
    part = Table.write(tmp_path / "few.safetensors", SPACE, few)
    found = surrogate(measured, SPACE, [NAME], rows=50, seed=3, of=part)
    assert torch.equal(SPACE.keys(found.archs), part.keys)
    whole = Table.write(tmp_path / "whole.safetensors", SPACE, made)
    expected = whole.column(NAME)[whole.lookup(part.keys)]
    torch.testing.assert_close(found.columns[NAME].values.float(), expected)


def test_agreement_by_hand():
    predicted, measured = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 4.0, 3.0])
    found = Agreement.of(predicted, measured, predicted - 0.5, predicted + 1.0)
    assert found.rows == 4
    assert found.tau == pytest.approx(4 / 6)
    assert found.r2 == pytest.approx(1 - 0.5 / 1.25)
    assert found.rmse == pytest.approx(0.5**0.5)
    assert found.coverage == 0.75


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"names": ["mine/test@10"]}, "no metric 'mine/test@10'"),
        ({"names": []}, "name the metrics"),
        ({"names": [NAME, NAME]}, "each once"),
        ({"rows": 10}, "10 rows are too few"),
        ({"rows": 100}, "measurements of mine/valid@10, not the 100 of --rows"),
        ({"runs": -1}, "not -1"),
        ({"space": NASBench101()}, "is a table of nasbench101 with max_nodes 4"),
    ],
    ids=["metric", "none", "twice", "few", "many", "runs", "space"],
)
def test_bad_input(measured, given, match):
    given = {"space": SPACE, "names": [NAME]} | given
    with pytest.raises(ValueError, match=match):
        surrogate(measured, **given)
