"""The ledger: what is committed stays, and can be read at any time."""

import json
import math
import sqlite3
import subprocess
import sys
import time

import pytest
import torch

from netwright.evaluation import Evaluation
from netwright.progress import Chunk, Step, keys_of
from netwright.runs.ledger import SCHEMA_VERSION, Ledger, Row, StepRow
from netwright.searchers.base import Proposals
from netwright.spaces.toy import Toy

SPACE = Toy()
ALL = SPACE.enumerate()


@pytest.fixture
def ledger(tmp_path):
    return Ledger.create(tmp_path / "ledger.sqlite")


def chunk(numbers, scores, *, status="evaluated", step=0, extras=None, error=None):
    archs = ALL[torch.tensor(numbers, dtype=torch.long)]
    score = torch.tensor(scores, dtype=torch.float64)
    cost = torch.arange(len(numbers)) / 4
    evaluation = Evaluation(score, cost, extras or {}, error or (None,) * len(numbers))
    index = tuple(numbers) if status != "initial" else (-1,) * len(numbers)
    return Chunk(step, index, keys_of(archs), Proposals.of(archs, "test"), evaluation, status)


def add(ledger, *args, **options):
    new = chunk(*args, **options)
    ledger.append(new, SPACE.to_text(new.proposals.archs))


def test_rows_say_what_was_appended(ledger):
    before = time.time()
    extras = {"test accuracy": torch.tensor([0.25, math.nan]), "params": torch.tensor([5.0, 7.0])}
    add(ledger, [3, 1], [0.1, math.nan], extras=extras, error=(None, "out of memory"), step=2)
    add(ledger, [3], [0.1], status="repeat", step=4)
    add(ledger, [9], [-math.inf], status="initial")
    first, second, third, fourth = ledger.rows()
    assert before <= first.finished == second.finished <= third.finished <= time.time()
    text = "identity,conv1x1,identity"
    key = keys_of(ALL[3:4])[0]
    assert first == Row(
        1, 2, 3, text, key, "test", "evaluated", 0.1, {"test accuracy": 0.25, "params": 5.0}, 0.0,
        None, first.finished,
    )  # fmt: skip
    assert (second.id, second.index, second.score, second.cost) == (2, 1, None, 0.25)
    assert second.error == "out of memory"
    assert math.isnan(second.extras["test accuracy"])
    assert second.extras["params"] == 7.0
    assert (third.status, third.key, third.step, third.extras) == ("repeat", key, 4, {})
    assert (fourth.status, fourth.index, fourth.score) == ("initial", -1, -math.inf)


def test_an_empty_ledger_is_empty(ledger):
    assert ledger.rows() == []
    assert ledger.steps() == []
    assert ledger.best() is None
    assert (ledger.count(), ledger.last_id()) == (0, 0)


def test_the_best_is_the_highest_score_evaluated_and_of_equals_the_first(ledger):
    add(ledger, [0], [math.nan])
    assert ledger.best() is None
    add(ledger, [7], [0.9], status="initial")
    add(ledger, [5, 4], [0.5, 0.5])  # two workers: 5 came in before 4
    add(ledger, [6], [0.4])
    assert ledger.best().index == 4
    add(ledger, [8], [math.inf])
    assert ledger.best().score == math.inf
    assert ledger.count() == 5
    assert ledger.last_id() == 6


def test_numbers_come_back_to_the_last_bit(ledger):
    values = torch.rand(20, generator=torch.Generator().manual_seed(0))
    wide = torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    add(ledger, range(20), wide.tolist(), extras={"narrow": values, "wide": wide})
    rows = ledger.rows()
    assert [row.score for row in rows] == wide.tolist()
    assert [row.extras["wide"] for row in rows] == wide.tolist()
    assert torch.equal(torch.tensor([row.extras["narrow"] for row in rows]), values)


def test_extras_are_strict_json_even_where_not_finite(ledger):
    values = [math.nan, math.inf, -math.inf, 1.5]
    add(ledger, range(4), [0.0] * 4, extras={"x": torch.tensor(values)})
    with sqlite3.connect(ledger.path) as db:
        texts = [text for (text,) in db.execute("SELECT extras FROM evaluations ORDER BY id")]
    db.close()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    assert [json.loads(t, parse_constant=refuse)["x"] for t in texts] == [None, "inf", "-inf", 1.5]
    assert repr([row.extras["x"] for row in ledger.rows()]) == repr(values)


def test_steps_are_replaced_when_done_again(ledger):
    ledger.append_step(Step(0, 4, {"loss": 1.0, "entropy": math.nan}))
    ledger.append_step(Step(1, 8, {}))
    ledger.append_step(Step(0, 4, {"loss": 2.0}, 1.5))
    first, second = ledger.steps()
    assert (first.seconds, second.seconds) == (1.5, 0.0)
    assert first == StepRow(0, 4, {"loss": 2.0}, first.time)
    assert (second.step, second.evaluations, second.stats) == (1, 8, {})


def test_a_chunk_is_committed_whole_or_not_at_all(ledger):
    add(ledger, [1], [0.1])
    with pytest.raises(sqlite3.IntegrityError):  # 1 was paid for before
        add(ledger, [0, 2, 1], [0.2, 0.3, 0.4])
    assert [row.index for row in ledger.rows()] == [1]


def test_facts_are_pinned(ledger):
    ledger.pin("seed", "3")
    ledger.pin("seed", "3")
    with pytest.raises(ValueError, match="search with seed 3, not 4: go on with seed 3, or start"):
        ledger.pin("seed", "4")


def test_an_existing_ledger_is_not_made_anew(ledger):
    add(ledger, [1], [0.1])
    with pytest.raises(FileExistsError):
        Ledger.create(ledger.path)
    assert ledger.count() == 1


# Damage


def test_a_missing_ledger_is_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match=r"none\.sqlite is missing"):
        Ledger(tmp_path / "none.sqlite").rows()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(ValueError, match=r"is damaged .* restore it from a backup"):
        Ledger(path).rows()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"is damaged \(not a ledger\)"):
        Ledger(path).rows()


def test_a_newer_ledger_is_refused(ledger):
    with sqlite3.connect(ledger.path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    for use in (ledger.rows, ledger.count, lambda: add(ledger, [1], [0.1])):
        with pytest.raises(ValueError, match=r"newer version of netwright \(schema 2.*upgrade"):
            use()


def test_damage_within_is_found(ledger):
    for i in range(27):
        add(ledger, [i], [0.5])
    ledger.check()
    data = bytearray(ledger.path.read_bytes())
    whole = bytes(data)
    data[4096 * 2 : 4096 * 3] = bytes(4096)
    ledger.path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged"):
        ledger.check()
    ledger.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        ledger.check()


# Others


def test_it_can_be_read_while_it_is_written_and_after_a_kill(tmp_path):
    """A reader sees whole chunks, more and more of them; SIGKILL leaves whole chunks."""
    ledger = Ledger.create(tmp_path / "ledger.sqlite")
    program = (
        "import sys; from pathlib import Path; from netwright.runs.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for i in range(100_000):\n"
        "    with ledger._transaction() as db:\n"
        "        row = 'INSERT INTO evaluations (step, idx, arch, key, origin, status, score, '\n"
        "        row += 'extras, cost, error, finished) VALUES '\n"
        "        row += \"(0, ?, 'a', 'k', 'o', 'evaluated', 0, '{}', 0, NULL, 0)\"\n"
        "        db.executemany(row, [(3 * i + j,) for j in range(3)])\n"
    )
    command = [sys.executable, "-c", program, str(ledger.path)]
    for _ in range(2):
        with sqlite3.connect(ledger.path) as db:
            db.execute("DELETE FROM evaluations")
        db.close()
        with subprocess.Popen(command) as writer:
            seen = [0]
            while seen[-1] < 30:
                assert writer.poll() is None
                seen.append(len(ledger.rows()))
                ledger.best(), ledger.count()
            writer.kill()
        assert seen == sorted(seen)
        assert all(n % 3 == 0 for n in seen)
        assert [row.index for row in ledger.rows()] == list(range(ledger.count()))
        assert ledger.count() % 3 == 0
        ledger.check()


def test_a_write_protected_ledger_can_be_read(ledger):
    add(ledger, [1], [0.5])
    ledger.path.chmod(0o444)
    ledger.path.parent.chmod(0o555)
    try:
        assert ledger.best().index == 1
    finally:
        ledger.path.parent.chmod(0o755)


def test_it_stands_alone_in_one_file(ledger):
    add(ledger, [1], [0.5])
    assert list(ledger.path.parent.iterdir()) == [ledger.path]


def test_commits_wait_for_the_disk(ledger):
    with ledger._open() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (3,)  # EXTRA
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(ledger):
    add(ledger, [1], [0.5])
    small = Ledger(ledger.path)
    real = sqlite3.connect

    def connect(*args, **options):
        db = real(*args, **options)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        return db

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)

        def fill():
            for i in range(200):
                add(small, [i % 27], [0.5], status="repeat", step=i)

        with pytest.raises(OSError, match=r"the disk of .* is full: what was committed is safe"):
            fill()
    before = ledger.rows()
    assert before[0].index == 1
    ledger.check()
    add(ledger, [2], [0.5])
    assert ledger.rows()[:-1] == before
