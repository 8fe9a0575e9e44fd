"""Evaluations on a Ray cluster: this machine's cores and GPUs, or those of many machines.

Without an address Ray is started for this process alone. It listens on the loopback interface
only, without a dashboard, and ends with the process. Another cluster is joined only if its address
is given: whoever can reach a Ray cluster can run programs on it, so keep it in a private network.
"""

import math
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.evaluators.isolated import portable
from netwright.graphs.batch import ArchitectureBatch

#: Seconds without any worker after which a search says what it is waiting for.
PATIENCE = 60.0

# Read when Ray is imported. Ray has it for systems whose firewalls ask about every open port.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Distributed:
    """Runs an evaluator in the workers of a Ray cluster; may be called from several threads.

    Results are those of the evaluator itself, bit for bit on equal machines at an equal number of
    threads, and the random streams are left as it would leave them. A worker that dies, alone or
    with its machine, costs a retry on another one; a call that takes too long is a failed
    evaluation with its reason. An exception that the evaluator lets through is a failed program:
    it is raised here, with the worker's traceback as a note.

    A worker keeps its copy of the evaluator. Workers start when first needed, and as many as there
    is room for. A cluster that is in use when this is made is used, and stays.

    Args:
        evaluator: Any evaluator that can be pickled.
        workers: Largest number of workers, and so of calls that run at once; more calls wait.
        address: "local" starts Ray on this machine; else that of a cluster, such as
            "10.0.0.1:6379", whose machines have the same packages installed.
        cpus: Cores of each worker, which are also its torch threads, rounded down; at least one.
        gpus: GPUs of each worker; a fraction lets several share one.
        timeout: Seconds for each ``chunk`` of architectures; None for no limit.
        retries: How often an evaluation is repeated whose worker died.

    Raises:
        ImportError: If Ray is missing.
        ValueError: If a number is not positive, or this machine has too few GPUs.
        RuntimeError: If Ray would not keep to the loopback interface.
        ConnectionError: If there is no cluster at the address.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        workers: int = 1,
        address: str = "local",
        cpus: float = 1.0,
        gpus: float = 0.0,
        timeout: float | None = None,
        retries: int = 3,
    ) -> None:
        for name, value in (("timeout", timeout), ("workers", workers), ("cpus", cpus)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        for name, value in (("gpus", gpus), ("retries", retries)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, not {value}")
        self._ray = _import_ray(local=address == "local")
        self.chunk = evaluator.chunk
        self.workers, self.timeout, self.retries = workers, timeout, retries
        self._needs = f"{cpus:g} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        self._started = self._connect(address, math.ceil(workers * cpus), workers * gpus)
        worker = self._ray.remote(_Worker)
        self._make = worker.options(num_cpus=cpus, num_gpus=gpus, max_restarts=0)
        self._evaluator = self._ray.put(evaluator)
        self._threads = max(1, int(cpus))
        self._lock = threading.Lock()  # of what follows
        self._all = set[Any]()
        self._closed = False
        # Workers without work, or why they could not start.
        self._idle = queue.SimpleQueue[tuple[Any, BaseException | None]]()

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture, ``chunk`` at a time.

        Raises:
            RuntimeError: If workers cannot start, or this is closed.
            Exception: Whatever the evaluator lets through.
        """
        parts = [Evaluation(torch.zeros(0), torch.zeros(0))] if not len(archs) else []
        for i in range(0, len(archs), self.chunk):
            piece = slice(i, i + self.chunk)
            parts.append(self._evaluate(archs[piece], rngs[piece]))
        return Evaluation.cat(parts)

    def __enter__(self) -> "Distributed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, and Ray if it was started here; closing twice is fine.

        Calls under way raise a RuntimeError.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for worker in self._all:
                self._ray.kill(worker)
            for _ in range(self.workers):
                self._idle.put((None, RuntimeError("closed")))
        if self._started:
            self._ray.shutdown()

    def _connect(self, address: str, cpus: int, gpus: float) -> bool:
        """Join the cluster, or start one; return whether it was started."""
        if self._ray.is_initialized():
            return False
        quiet = {"log_to_driver": False, "configure_logging": False}
        if address != "local":
            self._ray.init(address=address, **quiet)
            return False
        found = torch.cuda.device_count()
        if gpus > found:
            raise ValueError(f"{gpus:g} GPUs are wanted, and this machine has {found}")
        self._ray.init(
            address="local", num_cpus=cpus, num_gpus=found, include_dashboard=False, **quiet
        )
        if (host := self._ray.util.get_node_ip_address()) != "127.0.0.1":
            self._ray.shutdown()
            raise RuntimeError(
                f"Ray was imported earlier and would listen on {host}: set {_LOOPBACK}=0 before "
                "that, or start Ray yourself"
            )
        return True

    def _evaluate(self, archs: ArchitectureBatch, rngs: Sequence[torch.Generator]) -> Evaluation:
        errors = self._ray.exceptions
        states = [rng.get_state() for rng in rngs]
        began, why = time.perf_counter(), ""
        for _ in range(self.retries + 1):
            worker = self._take()
            began = time.perf_counter()
            answer = worker.evaluate.remote(archs, states)
            if not self._ray.wait([answer], timeout=self.timeout)[0]:
                self._end(worker)
                return _failed(archs, f"timed out after {self.timeout:g} s", began)
            try:
                evaluation, after, raised = self._ray.get(answer)
            except errors.RayError as lost:  # the worker, its machine, or what it returned
                self._end(worker)
                why = " ".join(str(lost).split())
                if self._closed:
                    raise RuntimeError("the evaluator was closed during an evaluation") from None
                continue
            self._idle.put((worker, None))
            if raised is not None:
                raise raised
            for rng, state in zip(rngs, after, strict=True):
                rng.set_state(state)
            assert isinstance(evaluation, Evaluation)
            return evaluation
        return _failed(archs, f"the worker died {self.retries + 1} times: {why}", began)

    def _take(self) -> Any:
        """Return a worker that is idle, or the next to become so."""
        failures = 0
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the evaluator is closed")
                if self._idle.empty() and len(self._all) < self.workers:
                    self._start()
            try:
                worker, why_not = self._idle.get(timeout=PATIENCE)
            except queue.Empty:
                warnings.warn(
                    f"waiting for a worker: each needs {self._needs}, and the cluster has "
                    f"{self._ray.cluster_resources()}",
                    stacklevel=2,
                )
                continue
            if why_not is None:
                return worker
            self._end(worker)
            failures += 1
            if failures > self.retries and not self._closed:
                raise RuntimeError(f"a worker could not start: {' '.join(str(why_not).split())}")

    def _start(self) -> None:
        """Begin to start a worker, which joins the idle ones when it is up."""
        # In a list, so that it is fetched by the worker, once that knows where modules are.
        worker = self._make.remote([self._evaluator], self._threads, sys.path)
        self._all.add(worker)
        # Whatever is called back must not call Ray, which waits for it.
        up = worker.ready.remote().future()
        up.add_done_callback(lambda answer: self._idle.put((worker, answer.exception())))

    def _end(self, worker: Any) -> None:
        """End a worker, whatever it is doing."""
        with self._lock:
            if worker in self._all and not self._closed:
                self._ray.kill(worker)
            self._all.discard(worker)


class _Worker:
    """An evaluator in a process of the cluster."""

    def __init__(self, evaluator: list[Any], threads: int, path: list[str]) -> None:
        import ray

        sys.path += [folder for folder in path if folder not in sys.path]
        torch.set_num_threads(threads)
        self._evaluator: Evaluator = ray.get(evaluator[0])

    def ready(self) -> None:
        """Answer once the worker is up."""

    def evaluate(
        self, archs: ArchitectureBatch, states: list[torch.Tensor]
    ) -> tuple[Evaluation | None, list[torch.Tensor], Exception | None]:
        """Score; return the result and the streams' states, or what was raised."""
        rngs = [torch.Generator().set_state(state) for state in states]
        try:
            evaluation = self._evaluator(archs, rngs=rngs)
        except Exception as error:
            return None, [], portable(error)
        return evaluation, [rng.get_state() for rng in rngs], None


def _failed(archs: ArchitectureBatch, reason: str, began: float) -> Evaluation:
    seconds = time.perf_counter() - began
    return Evaluation.failed(reason, n=len(archs), cost=seconds / len(archs))


def _import_ray(*, local: bool) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    if local and "ray" not in sys.modules:
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
    except ImportError:
        raise ImportError(
            "evaluating on a cluster needs Ray: pip install 'netwright[ray]'"
        ) from None
    return ray
