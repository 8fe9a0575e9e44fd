"""Successive halving: who goes on, what it costs, and which streams are drawn from."""

import math
from dataclasses import replace

import pytest
import torch
from small import trainer

from netwright.evaluation import Evaluation, Evaluator
from netwright.evaluators.halving import Halving, epochs_of, promoted, spent
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.table import TableEvaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.search import search
from netwright.searchers.random import RandomSearch
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table
from netwright.testing.evaluators import EVALUATOR_CHECKS

SPACE = Toy()
ARCHS = SPACE.enumerate()
NAN = math.nan


class Listed:
    """A rung whose scores are written down, by number of the architecture in the toy space."""

    chunk = 100

    def __init__(self, scores, cost=1.0, extra=None, error="exploded"):
        self.scores, self.cost, self.extra, self.error = scores, cost, extra, error
        self.calls = []

    def __call__(self, archs, *, rngs):
        assert len(rngs) == len(archs)
        numbers = [int((ARCHS.ops == ops).all(dim=1).nonzero()) for ops in archs.ops]
        self.calls.append(numbers)
        score = torch.tensor([self.scores[i] for i in numbers], dtype=torch.float32)
        extras = {} if self.extra is None else {self.extra: 10 + score}
        error = tuple(self.error if nan else None for nan in score.isnan().tolist())
        return Evaluation(score, torch.full((len(archs),), float(self.cost)), extras, error)


class Chance:
    """A rung whose scores are the first numbers of the streams."""

    chunk = 1

    def __call__(self, archs, *, rngs):
        assert len(archs) == len(rngs)
        score = torch.cat([torch.zeros(0), *[torch.rand(1, generator=rng) for rng in rngs]])
        return Evaluation(score, torch.zeros(len(archs)), {"drawn": score})


def streams(n):
    return [stream(0, f"evaluation/{i}") for i in range(n)]


def bracket(halving, n):
    return halving(ARCHS[:n], rngs=streams(n))


def same(values, expected):
    expected = torch.tensor(expected, dtype=values.dtype)
    return torch.equal(values.nan_to_num(nan=-1.0), expected.nan_to_num(nan=-1.0))


def test_a_bracket_by_hand():
    first = Listed([0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.0, 0.4, 0.5], cost=1, extra="size")
    second = Listed([0.0, 0.2, 0.0, 0.1, 0.0, 0.6, 0.0, 0.0, 0.0], cost=10, extra="size")
    third = Listed([0.95] * 9, cost=100, extra="test")
    halving = Halving([first, second, third], epochs=[2, 6, 18], names=["a", "b", "c"])
    result = bracket(halving, 9)
    assert (first.calls, second.calls, third.calls) == ([[*range(9)]], [[1, 3, 5]], [[5]])
    assert same(result.score, [NAN] * 5 + [0.95] + [NAN] * 3)
    assert same(result.extras["epochs"], [2, 8, 2, 8, 2, 26, 2, 2, 2])
    assert same(result.cost, [1, 11, 1, 11, 1, 111, 1, 1, 1])
    early, middle = "stopped after 2 epochs", "stopped after 6 epochs"
    assert result.error == (early, middle, early, middle, early, None, early, early, early)
    assert result.extras.keys() == {"a", "b", "size", "test", "epochs"}
    assert same(result.extras["a"], first.scores)
    assert same(result.extras["b"], [NAN, 0.2, NAN, 0.1, NAN, 0.6, NAN, NAN, NAN])
    size = [10.1, 10.2, 10.3, 10.1, 10.2, 10.6, 10.0, 10.4, 10.5]
    assert torch.allclose(result.extras["size"], torch.tensor(size))
    assert result.extras["test"].isnan().tolist() == [i != 5 for i in range(9)]


@pytest.mark.parametrize(
    ("n", "eta", "kept"), [(1, 3, 1), (2, 3, 1), (3, 3, 1), (4, 3, 2), (27, 3, 9), (27, 2, 14)]
)
def test_how_many_go_on(n, eta, kept):
    found = promoted(torch.arange(float(n)), eta)
    assert found.tolist() == list(range(n - kept, n))


def test_equals_go_on_in_their_order():
    assert promoted(torch.tensor([1.0, 2.0, 1.0, 2.0, 2.0, 1.0]), 3).tolist() == [1, 3]
    assert promoted(torch.ones(9), 4).tolist() == [0, 1, 2]
    assert promoted(torch.arange(100.0) % 2, 4).tolist() == list(range(1, 50, 2))


def test_failures_never_go_on():
    assert promoted(torch.tensor([NAN, 0.1, NAN, NAN, NAN, -9.0]), 2).tolist() == [1, 5]
    first, last = Listed([NAN, 0.5, NAN, 0.1]), Listed([1.0] * 4)
    result = bracket(Halving([first, last], epochs=[1, 9], eta=2), 4)
    assert result.error == ("exploded", None, "exploded", None)
    assert same(result.extras["epochs"], [1, 10, 1, 10])


def test_all_fail():
    last = Listed([1.0] * 4)
    result = bracket(Halving([Listed([NAN] * 4), last], epochs=[1, 9]), 4)
    assert result.error == ("exploded",) * 4
    assert result.score.isnan().all()
    assert not any(last.calls)


def test_failure_on_the_last_rung():
    last = Listed([NAN, 0.2, 0.3], extra="size")
    first = Listed([0.9, 0.5, 0.1], extra="size")
    result = bracket(Halving([first, last], epochs=[1, 9], eta=2), 3)
    assert result.error == ("exploded", None, "stopped after 1 epoch")
    assert same(result.score, [NAN, 0.2, NAN])
    assert torch.allclose(result.extras["size"], torch.tensor([10.9, 10.2, 10.1]))
    assert torch.allclose(result.extras["score@1"], torch.tensor([0.9, 0.5, 0.1]))


def test_streams_are_those_of_the_architecture_and_the_rung():
    """Whoever else is in a bracket, and goes on, an architecture draws the same numbers."""
    halving = Halving([Chance(), Chance()], epochs=[1, 3], eta=2)
    alone = Evaluation.cat([halving(ARCHS[:1], rngs=[rng]) for rng in streams(8)])
    whole = bracket(halving, 8)
    assert torch.equal(whole.extras["score@1"], alone.extras["score@1"])
    on = ~whole.score.isnan()
    assert on.sum() == 4
    assert torch.equal(whole.score[on], alone.score[on])
    assert len(set(alone.score.tolist()) | set(alone.extras["score@1"].tolist())) == 16


def test_a_rung_has_a_stream_of_its_own():
    """What it draws does not depend on how much the rung before has drawn."""
    drawn = bracket(Halving([Chance(), Chance()], epochs=[1, 3], eta=2), 4)
    on = ~drawn.score.isnan()
    written = Halving([Listed([float(good) for good in on]), Chance()], epochs=[1, 3], eta=2)
    assert torch.equal(bracket(written, 4).score[on], drawn.score[on])


def test_streams_end_where_they_end_whoever_goes_on():
    ends = []
    for scores in ([1.0, 0.0], [0.0, 1.0]):
        rngs = streams(2)
        Halving([Listed(scores), Chance()], epochs=[1, 3], eta=2)(ARCHS[:2], rngs=rngs)
        ends.append([rng.get_state().tolist() for rng in rngs])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("check", EVALUATOR_CHECKS.values(), ids=EVALUATOR_CHECKS.keys())
def test_contract(check):
    """All of it but one: what becomes of an architecture depends on the others."""
    scores = torch.rand(27, generator=stream(0, "scores"))

    def make():
        return Halving([Listed(scores.tolist()), Chance()], epochs=[1, 3], eta=2)

    if check is EVALUATOR_CHECKS["one by one"]:
        with pytest.raises(AssertionError, match="one by one"):
            check(make, SPACE)
    else:
        check(make, SPACE)


def test_workers_share_a_rung():
    halving = Halving([Chance(), Chance()], epochs=[1, 3])
    together = replace(halving, workers=3)
    a, b = bracket(halving, 9), bracket(together, 9)
    assert a.error == b.error
    assert a.extras.keys() == b.extras.keys()
    for x, y in [(a.score, b.score), *[(a.extras[n], b.extras[n]) for n in a.extras]]:
        assert torch.equal(x.nan_to_num(nan=-1.0), y.nan_to_num(nan=-1.0))


@pytest.fixture
def table(tmp_path):
    rng = stream(0, "values")
    names = ("toy/valid@3", "toy/valid@9", "toy/test@9")
    columns = {name: Column(torch.rand(27, generator=rng)) for name in names}
    columns["toy/train-seconds@3"] = Column(torch.full((27,), 5.0), "seconds")
    columns["toy/train-seconds@9"] = Column(torch.full((27,), 15.0), "seconds")
    return Table.write(tmp_path / "toy.safetensors", SPACE, Rows(ARCHS, columns, "", ""))


def test_a_search_over_columns_of_a_table(table):
    first = TableEvaluator(table, SPACE, "toy/valid@3")
    last = TableEvaluator(table, SPACE, "toy/valid@9", extras=("toy/test@9",))
    halving = Halving([first, last], epochs=[3, 9], names=[first.metric, last.metric])
    assert isinstance(halving, Evaluator)
    loop = search(RandomSearch(SPACE), halving, budget=27, batch_size=9, seed=0)
    chunks = [chunk for chunk in loop if isinstance(chunk, Chunk)]
    assert [len(chunk) for chunk in chunks] == [9, 9, 9]
    for chunk in chunks:
        row = table.lookup(SPACE.keys(chunk.proposals.archs))
        short, long = (table.column(name)[row] for name in ("toy/valid@3", "toy/valid@9"))
        found = chunk.evaluation
        on = ~found.score.isnan()
        assert set(short.topk(3).indices.tolist()) == set(on.nonzero()[:, 0].tolist())
        assert torch.allclose(found.score[on].float(), long[on])
        assert torch.allclose(found.extras["toy/valid@3"].float(), short)
        assert torch.equal(found.extras["toy/test@9"].isnan(), ~on)
        assert found.cost.tolist() == [20.0 if good else 5.0 for good in on.tolist()]


def test_trainings_of_several_lengths():
    base = trainer()
    rungs = [replace(base, recipe=replace(base.recipe, epochs=epochs)) for epochs in (1, 3)]
    halving = Halving(rungs, epochs=[1, 3], eta=2)
    result = bracket(halving, 2)
    on = ~result.score.isnan()
    assert on.sum() == 1
    assert result.extras["epochs"].tolist() == [4.0 if good else 1.0 for good in on.tolist()]
    assert result.extras["parameters"].isfinite().all()
    assert set(result.error) == {None, "stopped after 1 epoch"}
    assert (result.cost > 0).all()


def test_no_architecture():
    nothing = ArchitectureBatch.empty(3)
    result = Halving([Chance(), Chance()], epochs=[1, 3], workers=2)(nothing, rngs=[])
    assert len(result) == 0


def test_closing_ends_the_processes_of_the_rungs():
    rungs = [Isolated(Chance()), Isolated(Chance())]
    halving = Halving([rungs[0], Chance(), rungs[1]], epochs=[1, 3, 9])
    halving.close()
    for rung in rungs:
        with pytest.raises(RuntimeError, match="closed"):
            rung(ARCHS[:1], rngs=streams(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": [3]}, "2 rungs, 1 epochs, 1 names"),
        ({"rungs": [Chance()], "epochs": [3]}, "two rungs or more"),
        ({"names": ["a"]}, "2 rungs, 2 epochs, 1 names"),
        ({"epochs": [3, 3]}, "must rise from rung to rung, from at least 1, not 3, 3"),
        ({"epochs": [0, 3]}, "not 0, 3"),
        ({"eta": 1}, "eta must be at least 2, not 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
    ],
)
def test_wrong_options(options, message):
    fields = {"rungs": [Chance(), Chance()], "epochs": [1, 3]} | options
    with pytest.raises(ValueError, match=message):
        Halving(fields.pop("rungs"), **fields)


def test_full_evaluations_spent():
    extras = [{"epochs": 12.0}, {"epochs": 212.0}, {}, {"epochs": 12.0}]
    assert spent(extras, epochs=200) == [0.06, 1.12, 2.12, 2.18]
    assert spent([], epochs=200) == []


def test_epochs_of_a_column():
    assert epochs_of("cifar10-valid/valid@12") == 12
    for name in ("cifar10/weight-sharing", "cifar10/valid@last"):
        with pytest.raises(ValueError, match=f"{name} does not name its epochs"):
            epochs_of(name)
