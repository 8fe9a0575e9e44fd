"""Every distinct architecture is evaluated once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from netwright.evaluation import Evaluation
from netwright.evaluators.cached import Cached
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy

SPACE = Toy()
ARCHS = SPACE.enumerate()


class Counting:
    """Scores at random, fails on every third operation sum, and counts its calls."""

    chunk = 5

    def __init__(self):
        self.evaluated = []

    def __call__(self, archs, *, rngs):
        assert len(archs) == len(rngs)
        self.evaluated += SPACE.to_text(archs)
        score = torch.tensor([float(torch.rand((), generator=rng)) for rng in rngs])
        fails = archs.ops.sum(dim=1) % 3 == 0
        return Evaluation(
            score.masked_fill(fails, torch.nan),
            torch.ones(len(archs)),
            {"extra": score + 1},
            tuple("unlucky" if fail else None for fail in fails.tolist()),
        )


def evaluate(evaluator, archs, seed=0):
    return evaluator(archs, rngs=[stream(seed, str(i)) for i in range(len(archs))])


def values(tensor):
    return tensor.nan_to_num(nan=-1).tolist()


def test_the_first_time_it_is_the_inner_evaluator():
    inner, cached = evaluate(Counting(), ARCHS), evaluate(Cached(Counting()), ARCHS)
    assert values(cached.score) == values(inner.score)
    assert values(cached.extras["extra"]) == values(inner.extras["extra"])
    assert cached.error == inner.error
    assert any(cached.error)
    assert cached.cost.tolist() == [1.0] * len(ARCHS)
    assert Cached(Counting()).chunk == 5


def test_the_second_time_it_is_free_and_the_same():
    cached = Cached(Counting())
    first = evaluate(cached, ARCHS)
    back = torch.arange(len(ARCHS)).flip(0)
    second = evaluate(cached, ARCHS[back], seed=1)
    assert len(cached.evaluator.evaluated) == len(ARCHS)
    assert values(second.score) == values(first.score[back])
    assert values(second.extras["extra"]) == values(first.extras["extra"][back])
    assert second.error == first.error[::-1]
    assert second.cost.tolist() == [0.0] * len(ARCHS)


def test_repeats_within_a_batch_are_evaluated_once():
    cached = Cached(Counting())
    result = evaluate(cached, ARCHS[torch.tensor([4, 7, 4, 4])])
    assert cached.evaluator.evaluated == SPACE.to_text(ARCHS[torch.tensor([4, 7])])
    assert result.cost.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert values(result.score)[2:] == values(result.score)[:1] * 2


def test_each_architecture_draws_from_its_own_stream():
    cached = Cached(Counting())
    evaluate(cached, ARCHS[:2])
    mixed = evaluate(cached, ARCHS[:4])  # 0 and 1 are known: 2 and 3 draw from streams 2 and 3
    assert values(mixed.score) == values(evaluate(Counting(), ARCHS[:4]).score)


def test_renumbered_graphs_are_the_same():
    texts = [
        "input,conv3x3-bn-relu,conv1x1-bn-relu,output:0110000100010000",
        "input,conv1x1-bn-relu,conv3x3-bn-relu,output:0110000100010000",
    ]

    class One:
        chunk = 1

        def __call__(self, archs, *, rngs):  # noqa: ARG002
            assert len(archs) == 1
            return Evaluation(torch.ones(1), torch.ones(1))

    assert len(evaluate(Cached(One()), NASBench101().parse(texts))) == 2


def test_no_architectures():
    nothing = ArchitectureBatch.empty(SPACE.layout.max_nodes)
    assert len(evaluate(Cached(Counting()), nothing)) == 0


def test_an_exception_is_not_remembered():
    class Flaky(Counting):
        broken = True

        def __call__(self, archs, *, rngs):
            if self.broken:
                raise RuntimeError("out of order")
            return super().__call__(archs, rngs=rngs)

    cached = Cached(Flaky())
    with pytest.raises(RuntimeError, match="out of order"):
        evaluate(cached, ARCHS[:3])
    cached.evaluator.broken = False
    assert evaluate(cached, ARCHS[:3]).cost.tolist() == [1.0] * 3


class Slow(Counting):
    """Lets a test hold an evaluation up."""

    def __init__(self):
        super().__init__()
        self.started, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, archs, *, rngs):
        self.started.release()
        assert self.go.wait(30)
        return super().__call__(archs, rngs=rngs)


def test_threads_share_one_evaluation():
    cached = Cached(Slow())
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(evaluate, cached, ARCHS[:3], seed) for seed in range(4)]
        cached.evaluator.started.acquire()
        cached.evaluator.go.set()
        results = [result.result(timeout=30) for result in results]
    assert cached.evaluator.evaluated == SPACE.to_text(ARCHS[:3])
    assert len({tuple(values(result.score)) for result in results}) == 1
    assert sum(float(result.cost.sum()) for result in results) == 3


def test_threads_with_different_architectures_run_at_the_same_time():
    cached = Cached(Slow())
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(evaluate, cached, ARCHS[:2])
        other = pool.submit(evaluate, cached, ARCHS[1:4])
        assert cached.evaluator.started.acquire(timeout=30)
        assert cached.evaluator.started.acquire(timeout=30)
        cached.evaluator.go.set()
        assert len(one.result(timeout=30)) == 2
        assert len(other.result(timeout=30)) == 3
    assert sorted(cached.evaluator.evaluated) == sorted(SPACE.to_text(ARCHS[:4]))


def test_a_waiting_thread_learns_of_the_failure():
    class Failing(Slow):
        def __call__(self, archs, *, rngs):  # noqa: ARG002
            self.started.release()
            assert self.go.wait(30)
            raise RuntimeError("broken")

    cached = Cached(Failing())
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(evaluate, cached, ARCHS[:1]) for _ in range(2)]
        cached.evaluator.started.acquire()
        cached.evaluator.go.set()
        for result in results:
            with pytest.raises(RuntimeError, match="broken"):
                result.result(timeout=30)
