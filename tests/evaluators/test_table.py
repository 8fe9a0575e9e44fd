"""Scores from a table."""

import pytest
import torch

from netwright.evaluation import Evaluator
from netwright.evaluators.table import TableEvaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

SPACE = Toy()
ARCHS = SPACE.enumerate()
N = len(ARCHS)


def column(seed, *, holes=(), unit="fraction"):
    values = torch.rand(N, generator=stream(seed, "values"))
    values[list(holes)] = torch.nan
    return Column(values, unit)


@pytest.fixture
def rows():
    columns = {
        "toy/valid@3": column(0, holes=[5]),
        "toy/test@3": column(1),
        "toy/train-seconds@3": column(2, holes=[6], unit="seconds"),
        "toy/valid@9": column(3),
        "parameters": column(4, unit="number"),
    }
    return Rows(ARCHS, columns, "", "")


@pytest.fixture
def table(tmp_path, rows):
    return Table.write(tmp_path / "toy.safetensors", SPACE, rows)


def evaluate(evaluator, archs=ARCHS):
    return evaluator(archs, rngs=[stream(0, str(i)) for i in range(len(archs))])


def same(a, b):
    return torch.equal(a.nan_to_num(nan=-1), b.nan_to_num(nan=-1))


def test_scores_extras_and_cost(table, rows):
    evaluator = TableEvaluator(table, SPACE, "toy/valid@3", extras=("toy/test@3",))
    result = evaluate(evaluator)
    assert isinstance(evaluator, Evaluator)
    assert evaluator.chunk > 1000
    assert same(result.score, rows.columns["toy/valid@3"].values)
    assert result.extras.keys() == {"toy/test@3", "parameters"}
    for name, values in result.extras.items():
        assert same(values, rows.columns[name].values)
    assert torch.equal(result.cost, rows.columns["toy/train-seconds@3"].values.nan_to_num())


def test_test_accuracy_appears_only_if_asked_for(table):
    assert evaluate(TableEvaluator(table, SPACE, "toy/valid@3")).extras.keys() == {"parameters"}


def test_no_seconds_for_these_epochs(table):
    assert evaluate(TableEvaluator(table, SPACE, "toy/valid@9")).cost.tolist() == [0.0] * N


def test_a_missing_value_is_a_failure(table):
    result = evaluate(TableEvaluator(table, SPACE, "toy/valid@3"))
    assert result.score.isnan().nonzero().tolist() == [[5]]
    assert [i for i, error in enumerate(result.error) if error] == [5]
    assert result.error[5] == "no measurement"


def test_order_and_repeats(table, rows):
    index = torch.tensor([3, 1, 3, 20, 0])
    result = evaluate(TableEvaluator(table, SPACE, "toy/test@3"), ARCHS[index])
    assert torch.equal(result.score, rows.columns["toy/test@3"].values[index])


def test_no_architectures(table):
    nothing = ArchitectureBatch.empty(SPACE.layout.max_nodes)
    result = evaluate(TableEvaluator(table, SPACE, "toy/valid@3"), nothing)
    assert len(result) == 0
    assert result.extras.keys() == {"parameters"}


def test_an_architecture_not_in_the_table_raises(tmp_path):
    part = Rows(ARCHS[:10], {"a": Column(torch.rand(10))}, "", "")
    evaluator = TableEvaluator(Table.write(tmp_path / "t", SPACE, part), SPACE, "a")
    assert len(evaluate(evaluator, ARCHS[:10])) == 10
    with pytest.raises(ValueError, match="cannot be looked up: no row of") as info:
        evaluate(evaluator, ARCHS[8:12])
    assert SPACE.to_text(ARCHS[10:11])[0] in str(info.value)


def test_wrong_space(table):
    with pytest.raises(ValueError, match="not of nasbench201"):
        TableEvaluator(table, NASBench201(), "toy/valid@3")


@pytest.mark.parametrize("names", [("toy/nothing", ()), ("toy/valid@3", ("toy/nothing",))])
def test_unknown_metric(table, names):
    with pytest.raises(ValueError, match="choose from toy/valid@3, toy/test@3"):
        TableEvaluator(table, SPACE, names[0], extras=names[1])
