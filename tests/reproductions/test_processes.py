"""What is shared out to processes; the functions here are what they import."""

import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest

from netwright.reproductions.processes import Task, share_out

TASKS = [Task(f"task {i}", [i, i + 1]) for i in range(5)]


def count(searches):
    yield from searches


def fail(searches):
    yield 1
    raise ValueError(f"{searches} went wrong")


def die(searches):
    yield from searches[:1]
    os.kill(os.getpid(), signal.SIGKILL)


def dawdle(searches):
    yield from searches
    time.sleep(600)


def test_every_task_is_done_once():
    found = Counter(share_out(TASKS, count, 2))
    assert found == Counter((task.what, n) for task in TASKS for n in task.searches)


def test_an_error_comes_out_as_it_is():
    with pytest.raises(ValueError, match="went wrong"):
        list(share_out(TASKS, fail, 2))


def test_a_killed_process_is_noticed():
    with pytest.raises(RuntimeError, match=r"worker process died .exit code -9.*give the command"):
        list(share_out(TASKS, die, 2))


def test_nobody_who_listens_no_more_is_waited_for():
    began = time.monotonic()
    events = share_out(TASKS, dawdle, 2)
    next(events)
    events.close()
    assert not multiprocessing.active_children()
    assert time.monotonic() - began < 300
