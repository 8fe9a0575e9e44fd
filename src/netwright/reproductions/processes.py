"""Share the tasks of an experiment out to several processes."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

import torch

_Event = TypeVar("_Event")
_POLL = 1.0  # seconds after which it is seen that a worker has died


class Task(NamedTuple):
    """Searches of a method on a benchmark, which advance together.

    Attributes:
        what: Names it.
        searches: What `share_out`'s function takes; it can be pickled.
    """

    what: str
    searches: list[Any]


class Came(NamedTuple):
    """Results that have come in.

    Attributes:
        number: How many.
        fresh: Whether they were worked for; not so those that an earlier life had come to.
    """

    number: int
    fresh: bool


def share_out(
    tasks: Sequence[Task], work: Callable[[list[Any]], Iterator[_Event]], workers: int
) -> Generator[tuple[str, _Event], None, None]:
    """Work on tasks in processes, each taking the next one when it is through with its last.

    A process has its share of this one's threads. Closing the iterator ends the processes.

    Args:
        tasks: In the order in which they are begun.
        work: Works on the searches of a task, yielding what has come in.
        workers: Number of processes.

    Yields:
        Which task, and what has come in.

    Raises:
        RuntimeError: If a process was killed.
        Exception: What ``work`` raises.
    """
    context = multiprocessing.get_context("spawn")
    waiting, events = context.Queue(), context.Queue()
    for i in range(len(tasks)):
        waiting.put(i)
    for _ in range(workers):
        waiting.put(None)
    threads = max(1, torch.get_num_threads() // workers)
    crew = [
        context.Process(target=_serve, args=(tasks, work, waiting, events, threads), daemon=True)
        for _ in range(workers)
    ]
    for process in crew:
        process.start()
    try:
        running = workers
        while running:
            try:
                what, event = events.get(timeout=_POLL)
            except queue.Empty:
                _insist_alive(crew)
                continue
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                yield what, event
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.join()


def _insist_alive(crew: Sequence[BaseProcess]) -> None:
    """Insist that no process was ended from outside."""
    for process in crew:
        if process.exitcode not in (None, 0):
            raise RuntimeError(
                f"a worker process died (exit code {process.exitcode}), for lack of memory or by "
                "a signal: give the command again to go on, with fewer --workers if it was memory"
            )


def _serve(
    tasks: Sequence[Task],
    work: Callable[[list[Any]], Iterator[Any]],
    waiting: Any,
    events: Any,
    threads: int,
) -> None:
    """Take tasks until there are none."""
    torch.set_num_threads(threads)
    parent = os.getppid()
    what = ""
    try:
        while (i := waiting.get()) is not None:
            what = tasks[i].what
            for event in work(tasks[i].searches):
                events.put((what, event))
                if os.getppid() != parent:  # it was killed, and nobody listens any more
                    return
    except KeyboardInterrupt:
        return
    except Exception as error:
        events.put((what, error))
    events.put((what, None))
