"""A run: the folder of one search, which goes on from there whenever it is stopped.

::

    config.toml                    what the run is: its configuration, the versions it began with
    ledger.sqlite                  every proposal and its result
    checkpoint/state.safetensors   the searcher, how far the search was, an evaluator that learns

Results are committed to the ledger before the next evaluation starts; a checkpoint follows every
few seconds. To resume, the searcher is put back to its last checkpoint, or to the start if there
is none, and the same loop runs again: it proposes what it had proposed, and results that are in
the ledger are recalled instead of paid for. So a lost checkpoint costs time, never an evaluation.
"""

import os
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.evaluation import Evaluation, Evaluator, TrainableEvaluator
from netwright.files import load_state, locked, save_state, write_atomic
from netwright.graphs.batch import ArchitectureBatch
from netwright.progress import Chunk, Progress, Step, keys_of
from netwright.runs.folder import config_text, insist_empty, read_config
from netwright.runs.ledger import Ledger, Row
from netwright.search import Mode, search
from netwright.searchers.base import Proposals, Searcher
from netwright.spaces.base import SearchSpace

#: Bytes set aside while searching, so that the results in hand still fit on a disk that is full.
RESERVE = 256 * 1024

_CHECKPOINT_FORMAT = 2


@dataclass(frozen=True)
class Run:
    """The folder of one search.

    Attributes:
        folder: Where it is.
        config: What the run is, as plain values; their meaning is not this package's business.
        versions: Those of netwright, torch and Python when the run was made, its platform and
            number of torch threads.
    """

    folder: Path
    config: dict[str, Any]
    versions: dict[str, Any]

    @classmethod
    def create(cls, folder: Path | str, config: dict[str, Any] | None = None) -> "Run":
        """Make a run folder.

        Args:
            folder: A new or empty folder.
            config: What the run is, as plain values that TOML can express: None is not among
                them. Nothing by default.

        Raises:
            FileExistsError: If the folder holds something already.
            ValueError: If TOML cannot express the configuration.
        """
        folder = Path(folder)
        text = config_text(config or {})
        insist_empty(folder)
        (folder / "checkpoint").mkdir(parents=True)
        Ledger.create(folder / "ledger.sqlite")
        write_atomic(folder / "config.toml", text)  # last: this makes the folder a run
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str) -> "Run":
        """Open a run folder, be it that another process is searching in it.

        Raises:
            ValueError: If it is not a run folder, or its configuration is damaged.
        """
        folder = Path(folder)
        config, versions = read_config(folder)
        if "fit" in config and not (folder / "ledger.sqlite").exists():
            raise ValueError(f"{folder} is the folder of a fit, not of a search")
        return cls(folder, config, versions)

    @property
    def ledger(self) -> Ledger:
        """Every proposal so far."""
        return Ledger(self.folder / "ledger.sqlite")

    @property
    def checkpoint(self) -> Path:
        """The file with the state of the search, if one was saved yet."""
        return self.folder / "checkpoint" / "state.safetensors"

    def execute(  # noqa: PLR0913 (what a search takes)
        self,
        space: SearchSpace,
        searcher: Searcher,
        evaluator: Evaluator,
        *,
        budget: int,
        batch_size: int,
        seed: int,
        workers: int = 1,
        mode: Mode = "batch",
        initial: tuple[ArchitectureBatch, Float[Tensor, " batch"]] | None = None,
        design: ArchitectureBatch | None = None,
        checkpoint_every: float = 10.0,
    ) -> Generator[Chunk | Step, None, None]:
        """Search, or go on searching, until the budget is spent; yield what `search` yields.

        Every chunk is on the disk when it is yielded. Nobody else can search in this folder
        until the iterator has ended or is closed.

        Args:
            space: Reads and writes the text form of architectures.
            searcher: As it was at the start of the search: what it has learned is restored.
            evaluator: Scores.
            budget: How many distinct architectures to evaluate, earlier lives included.
            batch_size: How many architectures a step asks for (batch mode).
            seed: Of this search.
            workers: How many chunks are evaluated at the same time.
            mode: "batch" or "asynchronous", as in `search`.
            initial: Architectures whose scores are known; when resuming, those in the ledger.
            design: Architectures to evaluate first, whatever the searcher proposes.
            checkpoint_every: Seconds between checkpoints, and so what a kill may cost a searcher.

        Raises:
            BlockingIOError: If another process is searching in this folder.
            OSError: If the disk is full; every finished evaluation is then in the ledger.
            ValueError: If the ledger is damaged or belongs to another space or seed, and as
                `search` does.
            Exception: As `search` does.
        """
        with locked(self.folder / ".lock"), self._reserve() as reserve:
            ledger = self.ledger
            ledger.check()
            ledger.pin("space", space.name)
            ledger.pin("seed", str(seed))
            rows = ledger.rows()
            progress = Progress.start(seed)
            learner = evaluator if isinstance(evaluator, TrainableEvaluator) else None
            progress.by_number = learner is not None
            self._restore(searcher, progress, learner, rows)
            if paid := [row for row in rows if row.status == "evaluated"]:
                progress.recall(_recalled(space, paid))
            if known := [row for row in rows if row.status == "initial"]:
                labels = _recalled(space, known)
                initial = (labels.proposals.archs, labels.evaluation.score)
            logged = {(row.step, row.key) for row in rows if row.status == "repeat"}
            saved = time.monotonic()
            events = search(
                searcher,
                evaluator,
                budget=budget,
                batch_size=batch_size,
                seed=seed,
                workers=workers,
                mode=mode,
                initial=initial,
                design=design,
                progress=progress,
            )
            with closing(events):
                for event in events:
                    if isinstance(event, Step):
                        ledger.append_step(event)
                        if time.monotonic() - saved >= checkpoint_every:
                            self._save(searcher, progress, learner)
                            saved = time.monotonic()
                    elif not _in_ledger(event, logged, bool(known)):
                        _commit(ledger, event, space.to_text(event.proposals.archs), reserve)
                    yield event
            self._save(searcher, progress, learner)

    def restore(self, searcher: Searcher) -> None:
        """Give a searcher what it had learned by the last checkpoint.

        Raises:
            ValueError: If there is no checkpoint, or it is damaged.
        """
        try:
            searcher.load_state_dict(load_state(self.checkpoint)["searcher"])
        except FileNotFoundError:
            raise ValueError(f"{self.folder} has no checkpoint yet: resume the run") from None

    def _restore(
        self,
        searcher: Searcher,
        progress: Progress,
        learner: TrainableEvaluator | None,
        rows: Sequence[Row],
    ) -> None:
        try:
            state = load_state(self.checkpoint)
            if state["format"] != _CHECKPOINT_FORMAT:
                raise ValueError(f"{self.checkpoint} is from another version of netwright")
            if state["last_row"] > len(rows):
                raise ValueError(f"{self.checkpoint} is newer than the ledger")
        except FileNotFoundError:
            return
        except ValueError as error:
            warnings.warn(
                f"{error}; going through the search from its start instead, without evaluating "
                "anything again",
                stacklevel=3,
            )
            return
        searcher.load_state_dict(state["searcher"])
        progress.load_state_dict(state["progress"])
        if learner is not None:
            learner.load_state_dict(state["evaluator"])

    def _save(
        self, searcher: Searcher, progress: Progress, learner: TrainableEvaluator | None
    ) -> None:
        state = {
            "format": _CHECKPOINT_FORMAT,
            "last_row": self.ledger.last_id(),
            "searcher": searcher.state_dict(),
            "progress": progress.state_dict(),
        }
        if learner is not None:
            state["evaluator"] = learner.state_dict()
        for leftover in self.checkpoint.parent.glob(".*.partial"):  # of a killed process
            leftover.unlink()
        try:
            save_state(self.checkpoint, state)
        except OSError as error:
            raise OSError(
                f"cannot write {self.checkpoint} ({error.strerror}): every evaluation is safe in "
                "the ledger; free some space and resume"
            ) from error

    @contextmanager
    def _reserve(self) -> Iterator[Path]:
        """Set disk space aside for the block."""
        path = self.folder / ".reserve"
        try:
            write_atomic(path, os.urandom(RESERVE))  # random, lest a file system compress it
        except OSError as error:
            raise OSError(
                f"cannot write in {self.folder} ({error.strerror}): free some space or allow "
                "writing, and resume"
            ) from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _in_ledger(chunk: Chunk, logged: set[tuple[int, str]], known: bool) -> bool:
    """Tell whether the ledger has had these rows since an earlier life of the search.

    Args:
        chunk: What the loop has come to, perhaps again.
        logged: Step and key of the repeats in the ledger.
        known: Whether initial labels are in the ledger.
    """
    match chunk.status:
        case "evaluated":
            return False
        case "recalled":
            return True
        case "initial":
            return known
        case "repeat":
            return {(chunk.step, key) for key in chunk.key} <= logged


def _commit(ledger: Ledger, chunk: Chunk, texts: list[str], reserve: Path) -> None:
    try:
        ledger.append(chunk, texts)
    except OSError:
        reserve.unlink(
            missing_ok=True
        )  # if the disk is full, this makes room for what was just paid for
        ledger.append(chunk, texts)
        raise


def _recalled(space: SearchSpace, rows: Sequence[Row]) -> Chunk:
    """Read results back from the ledger."""
    archs = space.from_text([row.arch for row in rows])
    keys = keys_of(archs)
    for row, key in zip(rows, keys, strict=True):
        if row.key != key:
            raise ValueError(
                f"row {row.id} of the ledger has the key of another architecture than "
                f"{row.arch!r}: the ledger was altered, or the space {space.name!r} has changed"
            )
    names = dict.fromkeys(name for row in rows for name in row.extras)

    def column(values: list[float]) -> Float[Tensor, " batch"]:
        return torch.tensor(values, dtype=torch.float64)  # as exact as the ledger

    nan = float("nan")
    evaluation = Evaluation(
        column([nan if row.score is None else row.score for row in rows]),
        column([row.cost for row in rows]),
        {name: column([row.extras.get(name, nan) for row in rows]) for name in names},
        tuple(row.error for row in rows),
    )
    proposals = Proposals(archs, tuple(row.origin for row in rows))
    return Chunk(0, tuple(row.index for row in rows), keys, proposals, evaluation, "recalled")
