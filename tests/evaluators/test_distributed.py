"""Evaluations on Ray: the same results, and nothing lost when workers, machines or drivers die."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from small import trainer
from test_isolated import SPACE, Fails, Script, do, streams

from netwright.evaluation import Evaluation
from netwright.evaluators.distributed import Distributed
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.search import search
from netwright.searchers.random import RandomSearch
from netwright.testing.evaluators import EVALUATOR_CHECKS

pytestmark = [
    pytest.mark.slow,  # Ray takes its time to start, and so do its workers
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves sockets to be collected
    pytest.mark.xdist_group("ray"),
]


def listening():
    """Address and port of every socket that listens on this machine, in hexadecimal."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                found.add(local)
    return found


@pytest.fixture(scope="module")
def cluster():
    """Ray for this module, as `Distributed` starts it."""
    before = listening()
    first = Distributed(Script(), workers=2)
    yield listening() - before
    first.close()


@pytest.fixture
def make(cluster):  # noqa: ARG001 (Ray is up)
    made = []

    def one(evaluator, **options):
        made.append(Distributed(evaluator, **options))
        return made[-1]

    yield one
    for evaluator in made:
        evaluator.close()


class Mortal:
    """Kills its process the first ``times`` times that it meets an architecture."""

    chunk = 1

    def __init__(self, folder, times=1):
        self.folder, self.times = folder, times

    def __call__(self, archs, *, rngs):
        (text,) = SPACE.to_text(archs)
        tries = len(list(self.folder.glob(f"{text}-*")))
        (self.folder / f"{text}-{tries}").touch()
        if tries < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return Evaluation(torch.rand(1, generator=rngs[0]), torch.zeros(1))


class Slow:
    """Takes a while, and says when it began and ended."""

    chunk = 1

    def __call__(self, archs, *, rngs):  # noqa: ARG002
        began = time.time()
        time.sleep(0.5)
        score = torch.rand(1, generator=rngs[0])
        times = {"began": began, "ended": time.time()}
        return Evaluation(
            score,
            torch.ones(1),
            {k: torch.tensor([v], dtype=torch.float64) for k, v in times.items()},
        )


@pytest.mark.parametrize("check", EVALUATOR_CHECKS.values(), ids=EVALUATOR_CHECKS.keys())
def test_contract(make, check):
    check(lambda: make(trainer()), SPACE)


def test_only_the_loopback_interface(cluster):
    assert cluster  # Ray does listen
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address.split(":")[0] for address in cluster} <= loopback


def test_results_are_those_of_the_evaluator_itself(make):
    evaluator, archs = trainer(), SPACE.enumerate()[:3]
    here, there = streams(3), streams(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = evaluator(archs, rngs=here)
    torch.set_num_threads(threads)
    result = make(evaluator)(archs, rngs=there)
    assert torch.equal(result.score, expected.score)
    assert result.extras.keys() == expected.extras.keys()
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.get_state(), other.get_state())


def test_a_worker_keeps_its_evaluator_and_has_its_threads(make):
    evaluator = make(Script(), cpus=2.0)
    first, second = (evaluator(do("work"), rngs=streams(1)) for _ in range(2))
    assert first.extras["pid"] == second.extras["pid"] != os.getpid()
    assert (first.extras["calls"], second.extras["calls"]) == (1, 2)
    assert first.extras["threads"] == 2


def test_a_worker_that_dies_costs_a_retry(make, tmp_path):
    evaluator, archs = make(Mortal(tmp_path)), SPACE.enumerate()[:2]
    result = evaluator(archs, rngs=streams(2))
    assert result.error == (None, None)
    assert result.score.tolist() == [float(torch.rand(1, generator=r)) for r in streams(2)]
    assert len(list(tmp_path.iterdir())) == 4


def test_too_many_deaths_are_a_failed_evaluation(make, tmp_path):
    evaluator = make(Mortal(tmp_path, times=2), retries=1)
    archs = SPACE.enumerate()[:1]
    rngs = streams(1)
    result = evaluator(archs, rngs=rngs)
    assert result.error[0].startswith("the worker died 2 times: ")
    assert "\n" not in result.error[0]
    assert torch.equal(rngs[0].get_state(), streams(1)[0].get_state())
    assert evaluator(archs, rngs=streams(1)).error == (None,)  # and the next one goes on


@pytest.mark.parametrize("action", ["kill", "exit", "segfault"])
def test_every_kind_of_death(make, action):
    result = make(Script(), retries=0)(do(action), rngs=streams(1))
    assert result.error[0].startswith("the worker died 1 times: ")


def test_timeout(make):
    evaluator = make(Script(), timeout=2.0)
    evaluator(do("work"), rngs=streams(1))  # so that starting a worker is not in the time
    began = time.monotonic()
    result = evaluator(do("hang"), rngs=streams(1))
    assert time.monotonic() - began < 30
    assert result.error == ("timed out after 2 s",)
    assert 2 <= float(result.cost) < 30
    assert evaluator(do("work"), rngs=streams(1)).error == (None,)


def test_what_the_evaluator_raises_is_raised_here(make):
    evaluator = make(Script())
    with pytest.raises(KeyError, match="a bug") as caught:
        evaluator(do("raise"), rngs=streams(1))
    assert "test_isolated" in caught.value.__notes__[-1]
    with pytest.raises(RuntimeError, match="Fails: a b"):
        evaluator(do("strange"), rngs=streams(1))
    assert issubclass(Fails, Exception)


@pytest.mark.parametrize("mode", ["batch", "asynchronous"])
def test_a_search_keeps_all_workers_busy(make, mode):
    evaluator = make(Slow(), workers=2)
    options = {"budget": 8, "batch_size": 4, "seed": 0, "workers": 2, "mode": mode}
    chunks = [
        event
        for event in search(RandomSearch(SPACE), evaluator, **options)
        if isinstance(event, Chunk)
    ]
    assert sorted(i for chunk in chunks for i in chunk.index) == list(range(8))
    for chunk in chunks:
        expected = torch.rand(1, generator=stream(0, f"evaluation/{chunk.index[0]}"))
        assert float(chunk.evaluation.score) == pytest.approx(float(expected), abs=1e-7)
    times = [
        (float(c.evaluation.extras["began"]), float(c.evaluation.extras["ended"])) for c in chunks
    ]
    overlaps = sum(a[0] < b[1] and b[0] < a[1] for a in times for b in times) - len(times)
    assert overlaps >= 6  # of the 56 ordered pairs; one at a time there are none


def test_more_calls_than_workers_wait(make):
    evaluator, results = make(Slow(), workers=1), []
    threads = [
        threading.Thread(
            target=lambda: results.append(evaluator(SPACE.enumerate()[:1], rngs=streams(1)))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.error for result in results] == [(None,)] * 3
    spans = sorted((float(r.extras["began"]), float(r.extras["ended"])) for r in results)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_closed(make):
    evaluator = make(Script())
    threading.Timer(1.5, evaluator.close).start()
    with pytest.raises(RuntimeError, match="closed"):
        evaluator(do("hang"), rngs=streams(1))
    with pytest.raises(RuntimeError, match="the evaluator is closed"):
        evaluator(do("work"), rngs=streams(1))
    evaluator.close()
    assert sys.modules["ray"].is_initialized()  # it was there before


class Unloadable:
    chunk = 1

    def __reduce__(self):
        return _explode, ()

    def __call__(self, archs, *, rngs):
        raise NotImplementedError


def _explode():
    raise OSError("the data are not on this machine")


def test_an_evaluator_that_no_worker_can_load(make):
    evaluator = make(Unloadable(), retries=1)
    with pytest.raises(RuntimeError, match=r"could not start: .*the data are not on this machine"):
        evaluator(do("work"), rngs=streams(1))


def test_what_the_cluster_lacks_is_said(make, monkeypatch):
    monkeypatch.setattr("netwright.evaluators.distributed.PATIENCE", 0.5)
    evaluator = make(Script(), cpus=64.0)
    threading.Timer(2.0, evaluator.close).start()
    with (
        pytest.warns(UserWarning, match=r"each needs 64 cores, and the cluster has .*'CPU': 2"),
        pytest.raises(RuntimeError, match="closed"),
    ):
        evaluator(do("work"), rngs=streams(1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"workers": 0}, "workers must be above 0"),
        ({"cpus": -1.0}, "cpus must be above 0"),
        ({"gpus": -1.0}, "gpus must be at least 0"),
        ({"retries": -1}, "retries must be at least 0"),
        ({"timeout": 0.0}, "timeout must be above 0"),
    ],
)
def test_bad_numbers(options, match):
    with pytest.raises(ValueError, match=match):
        Distributed(Script(), **options)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"needs Ray: pip install 'netwright\[ray\]'"):
        Distributed(Script())


def test_twenty_deaths_lose_nothing(make, tmp_path):
    evaluator = make(Mortal(tmp_path), workers=2)
    options = {"budget": 20, "batch_size": 10, "seed": 0, "workers": 2}
    chunks = [
        event
        for event in search(RandomSearch(SPACE), evaluator, **options)
        if isinstance(event, Chunk)
    ]
    assert sum(map(len, chunks)) == 20
    assert all(error is None for chunk in chunks for error in chunk.evaluation.error)
    tries = Counter(path.name.rsplit("-", 1)[0] for path in tmp_path.iterdir())
    assert set(tries.values()) == {2}


CLUSTER = """
import sys, threading, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from ray.cluster_utils import Cluster
from test_distributed import Patient
from test_isolated import SPACE, streams
from netwright.evaluators.distributed import Distributed

cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 0}})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
folder, results = Path({folder!r}), []
with Distributed(Patient(folder), workers=2, address=cluster.address) as evaluator:
    def evaluate(i):
        results.append(evaluator(SPACE.enumerate()[i : i + 1], rngs=streams(1)))
    threads = [threading.Thread(target=evaluate, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.2)
    cluster.remove_node(nodes[0], allow_graceful=False)
    for thread in threads:
        thread.join()
print([result.error for result in results], len(list(folder.iterdir())))
sys.modules["ray"].shutdown()
cluster.shutdown()
"""


class Patient:
    """Leaves a file for each time that it begins, and takes a while."""

    chunk = 1

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, archs, *, rngs):
        (self.folder / f"{SPACE.to_text(archs)[0]}-{time.time_ns()}").touch()
        time.sleep(8)
        return Evaluation(torch.rand(1, generator=rngs[0]), torch.ones(1))


def test_a_lost_machine_of_a_cluster_costs_a_retry(tmp_path):
    """Two nodes on this machine, each with a worker; one of them is killed."""
    tests = str(Path(__file__).parent)
    code = CLUSTER.format(tests=tests, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[(None,), (None,)] 3" in done.stdout
