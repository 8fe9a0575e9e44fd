"""The threads that call an evaluator for the search loop."""

import queue
import threading
import time
from typing import NamedTuple

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.searchers.base import Proposals

#: Seconds that running evaluations get to end in when a search is abandoned.
GRACE = 1.0


class Job(NamedTuple):
    """Architectures to evaluate, with their numbers and random streams."""

    numbers: tuple[int, ...]
    proposals: Proposals
    rngs: list[torch.Generator]


class Crew:
    """Calls the evaluator: in as many threads as there are workers, or in this one if it is one.

    Unlike those of `concurrent.futures`, the threads do not keep the program from ending.
    """

    def __init__(self, evaluator: Evaluator, workers: int) -> None:
        self.evaluator, self.workers, self.busy = evaluator, workers, 0
        self._jobs = queue.SimpleQueue[Job | None]()
        self._ended = queue.SimpleQueue[tuple[Job, Evaluation | BaseException]]()
        self._failure: BaseException | None = None
        names = [f"evaluation-{i}" for i in range(workers)] if workers > 1 else []
        self._threads = [threading.Thread(target=self._serve, name=n, daemon=True) for n in names]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether another job can start now."""
        return self.busy < self.workers and self._failure is None

    @property
    def pending(self) -> bool:
        """Whether there is something to collect, be it a failure."""
        return self.busy > 0 or self._failure is not None

    def start(self, job: Job) -> None:
        """Hand a job to an idle worker."""
        self.busy += 1
        if self._threads:
            self._jobs.put(job)
        else:
            self._do(job)

    def collect(self) -> tuple[Job, Evaluation]:
        """Wait for a job to end.

        If one has failed, what the others have finished by then comes first: it is paid for.
        """
        while True:
            try:
                job, outcome = self._ended.get(block=self._failure is None)
            except queue.Empty:
                assert self._failure is not None
                raise self._failure from None
            self.busy -= 1
            if isinstance(outcome, Evaluation):
                return job, outcome
            self._failure = self._failure or outcome

    def dismiss(self) -> None:
        """Let the workers go; those still busy after `GRACE` seconds are left behind."""
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            evaluation = self.evaluator(job.proposals.archs, rngs=job.rngs)
            if len(evaluation) != len(job.numbers):
                raise ValueError(
                    f"the evaluator returned {len(evaluation)} results "
                    f"for {len(job.numbers)} architectures"
                )
            self._ended.put((job, evaluation))
        except BaseException as failure:  # whatever it is, the search must not wait forever
            self._ended.put((job, failure))
