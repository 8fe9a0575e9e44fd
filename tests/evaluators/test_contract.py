"""Every evaluator keeps the contract, and the contract notices evaluators that do not."""

from dataclasses import replace

import pytest
import torch
from small import finalist, trainer

from netwright.evaluation import Evaluation
from netwright.evaluators.cached import Cached
from netwright.evaluators.table import TableEvaluator
from netwright.rng import stream
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table
from netwright.testing.evaluators import EVALUATOR_CHECKS, check_evaluator

SPACE = Toy()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    archs = SPACE.enumerate()
    values = torch.rand(len(archs), generator=stream(0, "values"))
    holes = values.masked_fill(values < 0.3, torch.nan)
    columns = {"toy/valid@3": Column(holes), "toy/test@3": Column(values)}
    path = tmp_path_factory.mktemp("tables") / "toy.safetensors"
    return Table.write(path, SPACE, Rows(archs, columns, "", ""))


def looked_up(table):
    return TableEvaluator(table, SPACE, "toy/valid@3", extras=("toy/test@3",))


#: Every evaluator of the library, made afresh from a table of the toy space.
EVALUATORS = {
    "table": looked_up,
    "cached": lambda table: Cached(looked_up(table)),
    "train": lambda _: trainer(),
    "final": lambda _: finalist(),
}


@pytest.mark.parametrize("check", EVALUATOR_CHECKS.values(), ids=EVALUATOR_CHECKS.keys())
@pytest.mark.parametrize("make", EVALUATORS.values(), ids=EVALUATORS.keys())
def test_contract(make, check, table):
    check(lambda: make(table), SPACE)


class Good:
    """Keeps the contract; its children break one promise each."""

    chunk = 2

    def __call__(self, archs, *, rngs):
        score = torch.tensor([float(torch.rand((), generator=rng)) for rng in rngs])
        score = score.view(-1) + archs.ops.sum(dim=1) + archs.adj.sum(dim=(1, 2))
        return Evaluation(score, torch.zeros(len(archs)), {"extra": score})


class NoChunk(Good):
    chunk = 0


class GlobalRng(Good):
    def __call__(self, archs, *, rngs):
        torch.rand(())
        return super().__call__(archs, rngs=rngs)


class FirstStream(Good):
    def __call__(self, archs, *, rngs):
        return super().__call__(archs, rngs=list(rngs[:1]) * len(archs))


class NoStream(Good):
    calls = 0

    def __call__(self, archs, *, rngs):
        NoStream.calls += 1
        return super().__call__(
            archs, rngs=[stream(NoStream.calls, str(i)) for i in range(len(rngs))]
        )


class Backwards(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, score=result.score.flip(0))


class Silent(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, score=torch.full_like(result.score, torch.nan))


class Worried(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, error=("hm",) * len(archs))


class NegativeCost(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, cost=result.cost - 1)


class EndlessCost(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, cost=result.cost + torch.inf)


class Short(Good):
    def __call__(self, archs, *, rngs):
        return super().__call__(archs, rngs=rngs)[: max(1, len(archs) - 1)]


class AtLeastOne(Good):
    def __call__(self, archs, *, rngs):
        if not len(archs):
            return Evaluation.failed("nothing to do")
        return super().__call__(archs, rngs=rngs)


class Meddling(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        archs.ops[:] = 0
        return result


class WanderingExtra(Good):
    def __call__(self, archs, *, rngs):
        result = super().__call__(archs, rngs=rngs)
        return replace(result, extras={"extra": result.extras["extra"].flip(0)})


def test_the_good_one_passes():
    check_evaluator(Good, SPACE)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (NoChunk, "protocol"),
        (GlobalRng, "global rng"),
        (FirstStream, "one by one"),
        (NoStream, "repeatable"),
        (Backwards, "order"),
        (Backwards, "one by one"),
        (Silent, "one result each"),
        (Worried, "one result each"),
        (NegativeCost, "one result each"),
        (EndlessCost, "one result each"),
        (Short, "one result each"),
        (AtLeastOne, "empty batch"),
        (Meddling, "input untouched"),
        (WanderingExtra, "one by one"),
    ],
)
def test_each_broken_promise_is_noticed(make, check):
    with pytest.raises(AssertionError):
        EVALUATOR_CHECKS[check](make, SPACE)
    with pytest.raises(AssertionError):
        check_evaluator(make, SPACE)
