import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch
from small import trainer

from netwright.evaluation import Evaluation
from netwright.evaluators.isolated import Isolated
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.search import search
from netwright.searchers.random import RandomSearch
from netwright.spaces.toy import Toy

SPACE = Toy()

#: What `Script` does with each architecture of the space.
ACTIONS = ("work", "hang", "kill", "exit", "segfault", "interrupt", "os error", "raise", "strange")


def do(*actions):
    """The architectures that make `Script` do so."""
    return SPACE.enumerate()[
        torch.tensor([ACTIONS.index(action) for action in actions], dtype=torch.long)
    ]


def streams(n):
    return [stream(0, f"evaluation/{i}") for i in range(n)]


class Fails(Exception):
    def __init__(self, first, second):  # cannot be unpickled: it is rebuilt from one argument
        super().__init__(f"{first} {second}")


class Script:
    """Does what its first architecture says; gives the process and the number of calls away."""

    def __init__(self, chunk=1):
        self.chunk = chunk
        self.calls = 0

    def __call__(self, archs, *, rngs):
        self.calls += 1
        index = [bool(archs[:1].equal(SPACE.enumerate()[i : i + 1])) for i in range(len(ACTIONS))]
        action = ACTIONS[index.index(True)] if any(index) else "work"
        if action == "hang":
            time.sleep(600)
        elif action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "exit":
            os._exit(3)
        elif action == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif action == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif action == "os error":
            raise TimeoutError("a disk somewhere")
        elif action == "raise":
            raise KeyError("a bug")
        elif action == "strange":
            raise Fails("a", "b")
        score = torch.tensor([float(torch.rand((), generator=rng)) for rng in rngs])
        own = {"pid": os.getpid(), "calls": self.calls, "threads": torch.get_num_threads()}
        extras = {k: torch.full_like(score, v, dtype=torch.float64) for k, v in own.items()}
        return Evaluation(score, torch.zeros(len(score)), extras)


class Sleepy:
    """Takes its time, so that two calls overlap; a random score for every architecture."""

    chunk = 1

    def __call__(self, archs, *, rngs):
        time.sleep(0.1)
        return Script()(do(*["work"] * len(archs)), rngs=rngs)


@pytest.fixture(scope="module")
def healthy():
    """One child for all tests that do it no harm."""
    with Isolated(Script(), timeout=100.0, threads=1) as isolated:
        yield isolated


def test_same_as_in_process_bit_for_bit():
    archs, before = SPACE.enumerate()[9:12], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here, there = streams(3), streams(3)
        expected = trainer()(archs, rngs=here)
        with Isolated(trainer(), threads=1) as isolated:
            got = isolated(archs, rngs=there)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(got.score, expected.score)
    assert torch.equal(got.extras["train_loss"], expected.extras["train_loss"])
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.get_state(), b.get_state())


def test_a_child_is_kept_and_has_its_threads(healthy):
    a, b = (healthy(do("work"), rngs=streams(1)) for _ in range(2))
    assert a.extras["pid"] == b.extras["pid"] != os.getpid()
    assert b.extras["calls"] == a.extras["calls"] + 1
    assert a.extras["threads"] == 1
    assert torch.equal(a.score, b.score)
    assert healthy.chunk == 1


def test_nothing_to_do(healthy):
    assert len(healthy(do(), rngs=[])) == 0


@pytest.mark.parametrize(
    ("action", "error"),
    [("os error", TimeoutError("a disk somewhere")), ("raise", KeyError("a bug"))],
)
def test_an_exception_is_a_failed_program_and_the_child_lives_on(healthy, action, error):
    before = healthy(do("work"), rngs=streams(1)).extras["pid"]
    with pytest.raises(type(error), match=re.escape(str(error))) as caught:
        healthy(do(action), rngs=streams(1))
    assert "test_isolated.py" in caught.value.__notes__[0]
    assert healthy(do("work"), rngs=streams(1)).extras["pid"] == before


def test_an_exception_that_cannot_travel_is_told_in_words(healthy):
    with pytest.raises(RuntimeError, match="Fails") as caught:
        healthy(do("strange"), rngs=streams(1))
    assert str(caught.value) == "Fails: a b"
    assert "test_isolated.py" in caught.value.__notes__[0]


def test_ctrl_c_does_not_reach_the_child(healthy):
    assert healthy(do("interrupt"), rngs=streams(1)).error == (None,)


def test_timeout_and_death_are_failed_evaluations():
    with Isolated(Script(), timeout=2.0) as isolated:
        isolated(do("work"), rngs=streams(1))  # start-up does not count
        got = isolated(do("work", "hang", "kill", "exit"), rngs=streams(4))
        assert got.score.isnan().tolist() == [False, True, True, True]
        assert got.error == (
            None,
            "timed out after 2 s",
            "the evaluation process died: killed by signal 9 (out of memory?)",
            "the evaluation process died: exit code 3",
        )
        assert 2 <= got.cost[1] < 20
        again = isolated(do("work"), rngs=streams(1))
        assert torch.equal(again.score, got.score[:1])


def test_a_child_that_dies_between_calls_is_replaced():
    with Isolated(Script()) as isolated:
        first = isolated(do("work"), rngs=streams(1))
        os.kill(int(first.extras["pid"]), signal.SIGKILL)
        isolated._idle[0].process.join()
        second = isolated(do("work"), rngs=streams(1))
    assert second.error == (None,)
    assert first.extras["pid"] != second.extras["pid"]


def test_pieces_of_a_chunk_fail_together():
    with Isolated(Script(chunk=2)) as isolated:
        got = isolated(do("work", "work", "segfault", "work"), rngs=streams(4))
    assert got.score.isnan().tolist() == [False, False, True, True]
    assert got.error[2:] == ("the evaluation process died: killed by signal 11",) * 2


def test_workers_run_at_once_and_change_nothing():
    def scores(evaluator, workers):
        run = search(
            RandomSearch(SPACE), evaluator, budget=8, batch_size=4, seed=1, workers=workers
        )
        chunks = [step for step in run if isinstance(step, Chunk)]
        return {chunk.index: chunk.evaluation.score.item() for chunk in chunks}

    with Isolated(Sleepy(), workers=2) as isolated:
        assert scores(isolated, 2) == scores(Sleepy(), 1)
        assert len(isolated._idle) == 2


def test_closing_ends_children_and_calls_under_way():
    isolated = Isolated(Script())
    pid = int(isolated(do("work"), rngs=streams(1)).extras["pid"])
    caught = []

    def work():
        try:
            isolated(do("hang"), rngs=streams(1))
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    while not isolated._busy:
        time.sleep(0.01)
    time.sleep(0.2)
    isolated.close()
    isolated.close()
    thread.join(20)
    assert caught == ["the evaluator was closed during an evaluation"]
    assert not alive(pid)
    with pytest.raises(RuntimeError, match="is closed"):
        isolated(do("work"), rngs=streams(1))


def test_what_cannot_be_sent_is_named():
    with pytest.raises(ValueError, match="cannot be sent to another process"):
        Isolated(trainer(lambda *_, **__: None))


@pytest.mark.parametrize("options", [{"timeout": 0.0}, {"workers": 0}, {"threads": 0}])
def test_bad_numbers_are_named(options):
    with pytest.raises(ValueError, match="must be above 0"):
        Isolated(Script(), **options)


def script(path, body):
    """Run a script of its own, beside this test, in the background."""
    lines = [
        "import sys, os, time, torch",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "from test_isolated import Isolated, Script, do, streams",
        textwrap.dedent(body),
    ]
    path.write_text("\n".join(lines))
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell gives it
    )


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
def test_no_orphan_works_on_after_its_parent_was_killed(tmp_path):
    parent = script(
        tmp_path / "parent.py",
        """
        if __name__ == "__main__":
            isolated = Isolated(Script())
            print(int(isolated(do("work"), rngs=streams(1)).extras["pid"]), flush=True)
            isolated(do("hang"), rngs=streams(1))
        """,
    )
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert alive(pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    survived = alive(pid)
    if survived:
        os.kill(pid, signal.SIGKILL)
    parent.communicate()
    assert not survived


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_no_child_at_any_moment(tmp_path):
    parent = script(
        tmp_path / "terminal.py",
        """
        import signal
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, lambda *_: None)
            print("ready", flush=True)
            with Isolated(Script()) as isolated:
                print(isolated(do("work"), rngs=streams(1)).error)
        """,
    )
    parent.stdout.readline()
    while parent.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGINT)
        time.sleep(0.02)
    out, errors = parent.communicate()
    assert out.strip() == "(None,)", errors
    assert "KeyboardInterrupt" not in errors


@pytest.mark.slow
def test_a_script_without_main_guard_is_told_so(tmp_path):
    parent = script(
        tmp_path / "unguarded.py",
        """
        with Isolated(Script()) as isolated:
            isolated(do("work"), rngs=streams(1))
        """,
    )
    _, errors = parent.communicate(timeout=120)
    assert parent.returncode == 1
    assert "must begin its work under `if __name__ == '__main__':`" in errors.splitlines()[-1]


@pytest.mark.slow
def test_an_evaluator_defined_in_the_script_itself(tmp_path):
    parent = script(
        tmp_path / "main.py",
        """
        class Mine(Script):
            pass

        if __name__ == "__main__":
            with Isolated(Mine()) as isolated:
                print(isolated(do("work"), rngs=streams(1)).error)
        """,
    )
    out, errors = parent.communicate(timeout=120)
    assert out.strip() == "(None,)", errors
