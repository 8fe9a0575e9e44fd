"""The ledger: every proposal of a search and its result, on disk before the next one starts.

One SQLite file that stands alone: no second file holds what was committed last, so that it can be
copied, and lie on a network drive. Every call opens it anew, which costs a fraction of what
waiting for the disk does; so nothing is left open when a process dies, and any number of processes
can read while one writes.
"""

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netwright.evaluation import STOPPED
from netwright.progress import Chunk, Step

SCHEMA_VERSION = 1
_SECONDS = "searcher seconds"  # a step's, kept among its statistics

_SCHEMA = f"""
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    idx INTEGER NOT NULL,   -- number of the evaluation; -1 for initial labels
    arch TEXT NOT NULL,     -- in the space's notation
    key TEXT NOT NULL,      -- 32 hexadecimal digits, equal for isomorphic architectures
    origin TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('evaluated', 'repeat', 'initial')),
    score REAL,             -- NULL: the evaluation failed
    extras TEXT NOT NULL,   -- JSON
    cost REAL,              -- seconds
    error TEXT,
    finished REAL NOT NULL  -- Unix time
);
CREATE UNIQUE INDEX paid_once ON evaluations (idx) WHERE status = 'evaluated';
CREATE TABLE steps (
    step INTEGER PRIMARY KEY,
    evaluations INTEGER NOT NULL,
    stats TEXT NOT NULL,    -- JSON
    time REAL NOT NULL      -- Unix time
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""


@dataclass(frozen=True)
class Row:
    """One proposal.

    Attributes:
        id: Place in the ledger, from 1.
        step: The ask/tell round, from 0.
        index: Number of the evaluation, from 0; that of the first one for a repeat; -1 for an
            initial label.
        arch: The architecture, in the space's notation.
        key: Isomorphism-invariant, 32 hexadecimal digits.
        origin: Who proposed it.
        status: "evaluated", "repeat" or "initial".
        score: What the search maximises; None if the evaluation failed.
        extras: Further quantities by name; NaN where unknown.
        cost: Seconds.
        error: Why the evaluation failed.
        finished: Unix time at which the result came in.
    """

    id: int
    step: int
    index: int
    arch: str
    key: str
    origin: str
    status: str
    score: float | None
    extras: dict[str, float]
    cost: float
    error: str | None
    finished: float

    @property
    def stopped(self) -> bool:
        """Whether the evaluation was ended early on purpose."""
        return self.error is not None and self.error.startswith(STOPPED)


@dataclass(frozen=True)
class StepRow:
    """What a searcher said of itself after a step.

    Attributes:
        step: The ask/tell round, from 0.
        evaluations: Evaluations told by then.
        stats: By name.
        time: Unix time.
        seconds: How long the searcher took to propose and to learn; None in ledgers of before.
    """

    step: int
    evaluations: int
    stats: dict[str, float]
    time: float
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Ledger:
    """The ledger at ``path``.

    All methods raise a ValueError if the file is missing, damaged, not a ledger or from a newer
    version, and an OSError if it cannot be read or written; what is in it then stays in it.
    """

    path: Path

    @classmethod
    def create(cls, path: Path) -> "Ledger":
        """Make an empty ledger where there is no file.

        Raises:
            FileExistsError: If there is one.
        """
        with path.open("xb"):
            pass
        ledger = cls(path)
        with ledger._connected() as db:
            db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        return ledger

    def append(self, chunk: Chunk, texts: Sequence[str]) -> None:
        """Commit results: on return they are on the disk, all of them, and survive a power loss.

        Args:
            chunk: The results.
            texts: The text forms of its architectures.
        """
        result, now = chunk.evaluation, time.time()
        extras = {name: value.tolist() for name, value in result.extras.items()}
        rows = [
            (chunk.step, index, text, key, origin, chunk.status, score,
             _dump({name: values[i] for name, values in extras.items()}), cost, error, now)
            for i, (index, text, key, origin, score, cost, error) in enumerate(
                zip(chunk.index, texts, chunk.key, chunk.proposals.origin, result.score.tolist(),
                    result.cost.tolist(), result.error, strict=True))
        ]  # fmt: skip
        with self._transaction() as db:  # SQLite stores NaN as NULL
            db.executemany(
                "INSERT INTO evaluations (step, idx, arch, key, origin, status, score, extras, "
                "cost, error, finished) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def append_step(self, step: Step) -> None:
        """Commit what the searcher said of itself; a step done again replaces its first account."""
        stats = step.stats | {_SECONDS: step.seconds}
        row = (step.step, step.evaluations, _dump(stats), time.time())
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?)", row)

    def rows(self) -> list[Row]:
        """Return every proposal, in the order of commitment."""
        with self._open() as db:
            return [_row(found) for found in db.execute("SELECT * FROM evaluations ORDER BY id")]

    def steps(self) -> list[StepRow]:
        """Return what the searcher said of itself, step by step."""
        with self._open() as db:
            found = db.execute("SELECT step, evaluations, stats, time FROM steps ORDER BY step")
            rows = []
            for step, n, text, when in found:
                stats = _load(text)
                seconds = stats.pop(_SECONDS, None)
                rows.append(StepRow(step, n, stats, when, seconds))
            return rows

    def best(self) -> Row | None:
        """Return the evaluation with the best score, of equals the one with the lowest number."""
        with self._open() as db:
            found = db.execute(
                "SELECT * FROM evaluations WHERE status = 'evaluated' AND score IS NOT NULL "
                "ORDER BY score DESC, idx LIMIT 1"
            ).fetchone()
        return None if found is None else _row(found)

    def count(self) -> int:
        """Return the number of evaluations: repeats and initial labels are not among them."""
        with self._open() as db:
            query = "SELECT COUNT(*) FROM evaluations WHERE status = 'evaluated'"
            return int(db.execute(query).fetchone()[0])

    def last_id(self) -> int:
        """Return the place of the last row; 0 if there is none."""
        with self._open() as db:
            return int(db.execute("SELECT IFNULL(MAX(id), 0) FROM evaluations").fetchone()[0])

    def check(self) -> None:
        """Read the whole file, looking for damage."""
        with self._open() as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise ValueError(_damaged(self.path, found))

    def pin(self, name: str, value: str) -> None:
        """Record a fact that must never change, or make sure that it has not.

        Raises:
            ValueError: If the ledger has another value for it.
        """
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
            known = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
        if known != value:
            raise ValueError(
                f"{self.path} belongs to a search with {name} {known}, not {value}: go on with "
                f"{name} {known}, or start a new run"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db, db:  # commits, or rolls back if the block raises
            yield db

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise ValueError(
                    f"{self.path} is from a newer version of netwright (schema {version}, this "
                    f"one knows {SCHEMA_VERSION}): upgrade netwright"
                )
            if version < 1:
                raise ValueError(_damaged(self.path, "not a ledger"))
            yield db

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # "rw" falls back to reading where writing is not allowed, and never makes a new file.
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=60)) as db:
                # With a rollback journal, only EXTRA makes a commit survive a power loss.
                db.execute("PRAGMA synchronous = EXTRA")
                yield db
        except sqlite3.IntegrityError:
            raise  # a fault of the caller: an evaluation that was paid for before
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.DatabaseError) -> Exception:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_CANTOPEN" and not self.path.exists():
            return ValueError(f"{self.path} is missing: restore it from a backup")
        if name == "SQLITE_FULL":
            return OSError(
                f"the disk of {self.path} is full: what was committed is safe; free some space "
                "and resume"
            )
        if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            return ValueError(_damaged(self.path, str(error)))
        return OSError(f"cannot use {self.path}: {error}; what was committed is safe")


def _damaged(path: Path, reason: str) -> str:
    return (
        f"{path} is damaged ({reason}): restore it from a backup, or save what can be read with "
        f"`sqlite3 {path.name} .recover`"
    )


def _row(found: tuple[Any, ...]) -> Row:
    extras, cost, error, finished = found[8:]
    values = (*found[:8], _load(extras), math.nan if cost is None else cost, error, finished)
    return Row(*values)


def _dump(values: dict[str, float]) -> str:
    """Write as strict JSON, which has no word for what is not finite."""
    plain = {
        name: value if math.isfinite(value) else None if math.isnan(value) else str(value)
        for name, value in values.items()
    }
    return json.dumps(plain, allow_nan=False)


def _load(text: str) -> dict[str, float]:
    plain = json.loads(text)
    return {name: math.nan if value is None else float(value) for name, value in plain.items()}
