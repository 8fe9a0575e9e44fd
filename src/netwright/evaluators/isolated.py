"""Evaluations in child processes: they may hang, crash or eat all memory, and the search goes on.

Each child is a fresh interpreter ("spawn": CUDA and threads survive no fork) that keeps its copy
of the evaluator and serves one call after another. In a script, create and use `Isolated` under
``if __name__ == "__main__":``, since each child imports the script to find what it defines.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import torch

from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs.batch import ArchitectureBatch

_SPAWN = multiprocessing.get_context("spawn")


class Isolated:
    """Runs an evaluator in child processes; may be called from several threads at once.

    Results are those of the evaluator itself, bit for bit at an equal number of threads, and the
    random streams are left as it would leave them. A call that takes too long or whose process
    dies is a failed evaluation with its reason. An exception that the evaluator lets through is
    a failed program: it is raised here, with the child's traceback as a note.

    Children start when first needed, ignore Ctrl-C (the search handles it) and end with this
    process, however it ends. Changes that the evaluator makes to itself stay in its child.

    Args:
        evaluator: Any picklable evaluator; it is copied into every child.
        timeout: Seconds for each ``chunk`` of architectures; None for no limit.
        workers: Largest number of children, and so of calls that run at once; more calls wait.
        threads: Torch threads of each child; if None, an equal share of this process's.

    Raises:
        ValueError: If the evaluator cannot be pickled, or a number is not positive.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        timeout: float | None = None,
        workers: int = 1,
        threads: int | None = None,
    ) -> None:
        for name, value in (("timeout", timeout), ("workers", workers), ("threads", threads)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        try:
            self._evaluator = pickle.dumps(evaluator)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"the evaluator cannot be sent to another process ({error}): build it from "
                "functions and classes at the top level of a module, not from lambdas"
            ) from error
        self.chunk = evaluator.chunk
        self.timeout = timeout
        self.threads = threads or max(1, torch.get_num_threads() // workers)
        self._turns = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()  # of what follows, and of the calls to `multiprocessing`
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    def __call__(self, archs: ArchitectureBatch, *, rngs: Sequence[torch.Generator]) -> Evaluation:
        """Score every architecture, ``chunk`` at a time.

        Raises:
            RuntimeError: If a child process cannot start, or this is closed.
            Exception: Whatever the evaluator lets through.
        """
        parts = [Evaluation(torch.zeros(0), torch.zeros(0))] if not len(archs) else []
        for i in range(0, len(archs), self.chunk):
            piece = slice(i, i + self.chunk)
            with self._turns:
                parts.append(self._evaluate(archs[piece], rngs[piece]))
        return Evaluation.cat(parts)

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all children; calls under way raise a RuntimeError. Closing twice is fine."""
        with self._lock:
            self._closed = True
            for child in self._idle:
                child.end()
            self._idle.clear()
            for child in self._busy:
                child.process.kill()  # the call under way sees it and clears up

    def _evaluate(self, archs: ArchitectureBatch, rngs: Sequence[torch.Generator]) -> Evaluation:
        child = self._take()
        try:
            child.wait_until_ready()
            began = time.perf_counter()
            request = pickle.dumps((archs, [rng.get_state() for rng in rngs]))
            try:
                (evaluation, states), raised = child.ask(request, self.timeout)
            except (EOFError, OSError) as lost:
                seconds = time.perf_counter() - began
                if isinstance(lost, TimeoutError):
                    reason = f"timed out after {self.timeout:g} s"
                else:
                    reason = f"the evaluation process died: {child.cause_of_death()}"
                if self._closed:
                    raise RuntimeError("the evaluator was closed during an evaluation") from None
                return Evaluation.failed(reason, n=len(archs), cost=seconds / len(archs))
            if raised is not None:
                raise raised
        finally:
            self._give_back(child)
        for rng, state in zip(rngs, states, strict=True):
            rng.set_state(state)
        assert isinstance(evaluation, Evaluation)
        return evaluation

    def _take(self) -> "_Child":
        """Return an idle child, or a new one."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the evaluator is closed")
            while self._idle:
                child = self._idle.pop()
                if child.process.is_alive():
                    break
                child.end()
            else:
                child = _Child(self._evaluator, self.threads)
            self._busy.add(child)
            return child

    def _give_back(self, child: "_Child") -> None:
        """Keep the child for later if it is waiting for work, else end it."""
        with self._lock:
            self._busy.discard(child)
            if child.waiting and not self._closed:
                self._idle.append(child)
            else:
                child.end()


class _Child:
    """A child process as its parent sees it.

    Attributes:
        waiting: Whether the child has answered all it was asked.
    """

    def __init__(self, evaluator: bytes, threads: int) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, threads), daemon=True)
        with _no_interrupts():
            self.process.start()
        theirs.close()  # the child now holds the only other end: its death is seen as EOF
        self.waiting = False
        self._evaluator: bytes | None = evaluator

    def wait_until_ready(self) -> None:
        """Hand over the evaluator, the first time.

        Raises:
            RuntimeError: If the child dies of it.
            Exception: Whatever unpickling the evaluator raises.
        """
        if self._evaluator is None:
            return
        try:
            _, raised = self.ask(self._evaluator, None)
        except (EOFError, OSError) as lost:
            raise RuntimeError(
                f"an evaluation process could not start ({self.cause_of_death()}); a script must "
                "begin its work under `if __name__ == '__main__':`"
            ) from lost
        if raised is not None:
            raise raised
        self._evaluator = None

    def ask(self, request: bytes, timeout: float | None) -> tuple[Any, Exception | None]:
        """Return the child's answer, or None and what was raised there.

        Raises:
            TimeoutError: If there is no answer after ``timeout`` seconds.
            EOFError, OSError: If the child dies.
        """
        self.waiting = False
        self.pipe.send_bytes(request)
        if not self.pipe.poll(timeout):
            raise TimeoutError
        value, raised = pickle.loads(self.pipe.recv_bytes())
        self.waiting = True
        return value, raised

    def cause_of_death(self) -> str:
        """Say how a child that has closed its pipe ended."""
        self.process.join(5)
        code = self.process.exitcode
        if code is None:
            return "cause unknown"
        if code >= 0:
            return f"exit code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by signal {-code}{hint}"

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let a process started in the block be born with Ctrl-C blocked."""
    resource_tracker.ensure_running()  # starting it later would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, threads: int) -> None:
    """Answer requests until the parent closes the pipe; runs in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # should anything here lift the block
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    evaluator: Evaluator | None = None
    while True:
        try:
            request = pipe.recv_bytes()
        except EOFError:
            return
        try:
            if evaluator is None:
                evaluator, answer = pickle.loads(request), None
            else:
                archs, states = pickle.loads(request)
                rngs = [torch.Generator().set_state(state) for state in states]
                evaluation = evaluator(archs, rngs=rngs)
                answer = evaluation, [rng.get_state() for rng in rngs]
            reply = pickle.dumps((answer, None))
        except Exception as error:
            reply = pickle.dumps(((None, []), portable(error)))
        pipe.send_bytes(reply)


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, even by SIGKILL and in mid-training."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def portable(error: Exception) -> Exception:
    """Return an exception that survives pickling, with its traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    error.add_note(f"In the evaluation process:\n{trace}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # anything may happen in a foreign class: fall back to a plain one
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(error.__notes__[-1])
        return plain
    return error
