"""Tables of measurements: which column is made of what."""

import math

import pytest
import torch

from netwright.evaluation import Evaluation
from netwright.evaluators.table import TableEvaluator
from netwright.rng import stream
from netwright.spaces.toy import Toy
from netwright.tables.build import measured_rows, seed_agreement
from netwright.tables.format import Table

SPACE = Toy()
ARCHS = SPACE.enumerate()[:4]
NAN = math.nan


def evaluation(score, cost, **extras):
    extras = {name: torch.tensor(values, dtype=torch.float64) for name, values in extras.items()}
    return Evaluation(torch.tensor(score), torch.tensor(cost), extras)


RESULTS = [
    evaluation(
        [0.5, 0.6, NAN, NAN], [1.0, 1.0, 1.0, 0.1],
        test_accuracy=[0.4, 0.5, NAN, NAN], parameters=[10.0, 20.0, NAN, NAN],
        train_loss=[1.0, 2.0, NAN, NAN],
    ),
    evaluation(
        [0.7, 0.6, 0.8, NAN], [9.0, 2.0, 1.0, 0.2],
        test_accuracy=[0.6, 0.3, 0.7, NAN], parameters=[10.0, 20.0, 30.0, NAN],
        train_loss=[3.0, 2.0, 0.5, NAN],
    ),
    evaluation(
        [0.6, 0.9, 0.4, NAN], [2.0, 3.0, 4.0, 0.3],
        test_accuracy=[0.5, 0.4, 0.3, NAN], parameters=[10.0, 20.0, 30.0, NAN],
        train_loss=[2.0, 5.0, 1.5, NAN],
    ),
]  # fmt: skip


def rows(results=RESULTS, metric="digits/valid@12", **options):
    fields = {"seeds": range(len(results)), "source": "made up", "licence": "none"}
    return measured_rows(ARCHS, results, metric=metric, **(fields | options))


def test_columns_by_hand():
    made = rows(unit="fraction")
    expected = {
        "digits/valid@12": ("fraction", [0.6, 0.7, 0.6, NAN]),
        "digits/valid-seed0@12": ("fraction", [0.5, 0.6, NAN, NAN]),
        "digits/valid-seed1@12": ("fraction", [0.7, 0.6, 0.8, NAN]),
        "digits/valid-seed2@12": ("fraction", [0.6, 0.9, 0.4, NAN]),
        "digits/test@12": ("fraction", [0.5, 0.4, 0.5, NAN]),
        "digits/test-seed0@12": ("fraction", [0.4, 0.5, NAN, NAN]),
        "digits/test-seed1@12": ("fraction", [0.6, 0.3, 0.7, NAN]),
        "digits/test-seed2@12": ("fraction", [0.5, 0.4, 0.3, NAN]),
        "parameters": ("count", [10.0, 20.0, 30.0, NAN]),
        "digits/train-loss@12": ("number", [2.0, 3.0, 1.0, NAN]),
        "digits/train-seconds@12": ("seconds", [2.0, 2.0, 1.0, 0.2]),
    }
    assert {name: column.unit for name, column in made.columns.items()} == {
        name: unit for name, (unit, _) in expected.items()
    }
    for name, (_, values) in expected.items():
        wanted = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(made.columns[name].values, wanted, equal_nan=True)


def test_a_single_seed_has_no_columns_of_its_own():
    assert list(rows(RESULTS[:1]).columns) == [
        "digits/valid@12", "digits/test@12", "parameters", "digits/train-loss@12",
        "digits/train-seconds@12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        ("digits/synflow", ["digits/synflow", "parameters", "digits/synflow-seconds"]),
        ("score", ["score", "parameters", "score-seconds"]),
    ],
    ids=["of a data set", "one word"],
)
def test_scores_without_epochs(metric, names):
    result = evaluation([1.0, 2.0, 3.0, 4.0], [1.0] * 4, parameters=[1.0] * 4)
    assert list(rows([result], metric).columns) == names


def test_an_evaluator_that_costs_nothing_has_no_seconds():
    assert list(rows([evaluation([1.0, 2.0, 3.0, 4.0], [0.0] * 4)], "score").columns) == ["score"]


def test_the_evaluator_of_the_table_finds_score_and_cost(tmp_path):
    table = Table.write(tmp_path / "t.safetensors", SPACE, rows())
    evaluate = TableEvaluator(table, SPACE, "digits/valid@12", ("digits/test@12",))
    result = evaluate(ARCHS, rngs=[stream(0, "unused")] * 4)
    torch.testing.assert_close(result.score[:3], torch.tensor([0.6, 0.7, 0.6]))
    torch.testing.assert_close(result.cost[:3], torch.tensor([2.0, 2.0, 1.0]))
    assert result.error == (None, None, None, "no measurement")


def test_agreement_of_seeds_by_hand(tmp_path):
    a, b, c = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 3.0], [NAN, 3.0, 2.0, 1.0]
    results = [evaluation(score, [1.0] * 4) for score in (a, b, c)]
    table = Table.write(tmp_path / "t.safetensors", SPACE, rows(results))
    found = seed_agreement(table)
    assert list(found) == ["digits/valid@12"]
    agreement = found["digits/valid@12"]
    assert agreement["pairs"] == [[0, 1], [0, 2], [1, 2]]
    # 5 of 6 pairs in order and 1 not; then, of three rows, none of 3; 1 of 3
    assert agreement["kendall_tau"] == pytest.approx([4 / 6, -1.0, -1 / 3])
    assert agreement["spearman"] == pytest.approx([0.8, -1.0, -0.5])


def test_a_table_without_single_seeds_has_no_agreement(tmp_path):
    assert seed_agreement(Table.write(tmp_path / "t.safetensors", SPACE, rows(RESULTS[:1]))) == {}


def test_results_that_do_not_fit():
    short = evaluation([1.0], [1.0])
    for results, seeds in ((RESULTS, [0]), ([short], [0])):
        with pytest.raises(ValueError, match="one result is needed for each seed, of all"):
            rows(results, seeds=seeds)


@pytest.mark.parametrize(
    ("metric", "message"),
    [("a b", "metric 'a b': write"), ("parameters", "two columns would be called parameters")],
    ids=["no name", "taken"],
)
def test_names_that_do_not_fit(metric, message):
    result = evaluation([1.0] * 4, [1.0] * 4, parameters=[1.0] * 4)
    with pytest.raises(ValueError, match=message):
        rows([result], metric)
