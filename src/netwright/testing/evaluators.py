"""The contract of evaluators, as checks to run on your own.

::

    from netwright.testing.evaluators import EVALUATOR_CHECKS

    @pytest.mark.parametrize("check", EVALUATOR_CHECKS.values(), ids=EVALUATOR_CHECKS.keys())
    def test_my_evaluator(check):
        check(lambda: MyEvaluator(...), my_space)

Costs may be measured times, so they are never compared.
"""

from collections.abc import Callable

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.base import SearchSpace

#: Makes a fresh evaluator, always the same one.
Make = Callable[[], Evaluator]
Check = Callable[[Make, SearchSpace], None]

#: Architectures per check: few, since some evaluators train them.
_N = 4


def check_protocol(make: Make, space: SearchSpace) -> None:  # noqa: ARG001 (all checks are called alike)
    """An evaluator is an `Evaluator` and takes at least one architecture at a time."""
    evaluator = make()
    assert isinstance(evaluator, Evaluator), "an evaluator needs `chunk` and `__call__`"
    assert isinstance(evaluator.chunk, int), f"chunk must be an int, not {evaluator.chunk!r}"
    assert evaluator.chunk >= 1, f"chunk must be at least 1, not {evaluator.chunk}"


def check_one_result_each(make: Make, space: SearchSpace) -> None:
    """Scores, costs, errors and extras have one entry per architecture; failures have reasons."""
    archs = _archs(space)
    result = _evaluate(make(), archs)
    assert isinstance(result, Evaluation)
    lengths = {
        "score": len(result.score),
        "cost": len(result.cost),
        "error": len(result.error),
        **{name: len(values) for name, values in result.extras.items()},
    }
    assert set(lengths.values()) == {len(archs)}, f"not {len(archs)} entries each: {lengths}"
    assert result.cost.isfinite().all(), "costs must be finite"
    assert (result.cost >= 0).all(), "costs must not be negative"
    assert not result.score.isinf().any(), "a score must be finite, or NaN for a failure"
    for score, error in zip(result.score.tolist(), result.error, strict=True):
        if score == score:
            assert error is None, f"score {score} and yet an error: {error}"
        else:
            assert error, "a score of NaN needs a reason"
            assert "\n" not in error, "a reason is one line"


def check_empty_batch(make: Make, space: SearchSpace) -> None:
    """No architectures, no results."""
    result = make()(ArchitectureBatch.empty(space.layout.max_nodes), rngs=[])
    assert len(result) == 0, f"{len(result)} results for no architecture"


def check_repeatable(make: Make, space: SearchSpace) -> None:
    """The same architectures with the same random streams give the same results."""
    archs = _archs(space)
    _assert_same(_evaluate(make(), archs), _evaluate(make(), archs), "a second call")


def check_one_by_one(make: Make, space: SearchSpace) -> None:
    """A batch gives what its architectures give alone: stream ``i`` serves architecture ``i``."""
    archs, evaluator = _archs(space), make()
    alone = [
        evaluator(archs[i : i + 1], rngs=[stream(0, f"evaluation/{i}")]) for i in range(len(archs))
    ]
    _assert_same(_evaluate(make(), archs), Evaluation.cat(alone), "one by one")


def check_order(make: Make, space: SearchSpace) -> None:
    """Results come in the order of the architectures."""
    archs = _archs(space)
    straight = _evaluate(make(), archs)
    turned = torch.arange(len(archs)).roll(1)  # a mere reversal would hide reversed results
    rngs = [stream(0, f"evaluation/{i}") for i in turned.tolist()]
    expected = Evaluation.cat([straight[i : i + 1] for i in turned.tolist()])
    _assert_same(make()(archs[turned], rngs=rngs), expected, "in another order")


def check_global_rng(make: Make, space: SearchSpace) -> None:
    """The global random state is left alone."""
    archs, evaluator = _archs(space), make()
    before = torch.get_rng_state()
    _evaluate(evaluator, archs)
    assert torch.equal(torch.get_rng_state(), before), "the global random state was used"


def check_input_untouched(make: Make, space: SearchSpace) -> None:
    """The architectures handed over are not changed."""
    archs = _archs(space)
    copy = ArchitectureBatch(archs.ops.clone(), archs.adj.clone(), archs.num_nodes.clone())
    _evaluate(make(), archs)
    assert archs.equal(copy).all(), "the evaluator changed the architectures it was given"


#: Every check, by name.
EVALUATOR_CHECKS: dict[str, Check] = {
    "protocol": check_protocol,
    "one result each": check_one_result_each,
    "empty batch": check_empty_batch,
    "repeatable": check_repeatable,
    "one by one": check_one_by_one,
    "order": check_order,
    "global rng": check_global_rng,
    "input untouched": check_input_untouched,
}


def check_evaluator(make: Make, space: SearchSpace) -> None:
    """Run every check on the evaluator that ``make`` makes, on architectures of ``space``.

    Raises:
        AssertionError: At the first one that fails.
    """
    for check in EVALUATOR_CHECKS.values():
        check(make, space)


def _archs(space: SearchSpace) -> ArchitectureBatch:
    return space.simplify(space.sample(_N, rng=stream(0, "architectures")))


def _evaluate(evaluator: Evaluator, archs: ArchitectureBatch) -> Evaluation:
    return evaluator(archs, rngs=[stream(0, f"evaluation/{i}") for i in range(len(archs))])


def _assert_same(one: Evaluation, other: Evaluation, what: str) -> None:
    assert one.error == other.error, f"{what} gives other errors: {one.error}, {other.error}"
    columns = {"score": (one.score, other.score)}
    assert one.extras.keys() == other.extras.keys(), f"{what} gives other extras"
    columns |= {name: (one.extras[name], other.extras[name]) for name in one.extras}
    for name, (a, b) in columns.items():
        same = torch.allclose(a.double(), b.double(), rtol=1e-5, equal_nan=True)
        assert same, f"{what} gives another {name}: {a.tolist()}, {b.tolist()}"
