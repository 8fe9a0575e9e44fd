"""Measure given architectures: a run folder for each seed, in which nothing is searched.

``FOLDER/seed-0``, ``FOLDER/seed-1`` and so on are runs as any other, whose proposals are the
architectures in the order given. So evaluation ``i`` of every seed is of architecture ``i``, draws
from ``stream(seed, f"evaluation/{i}")`` whatever the number of workers, and is on the disk before
the next one starts: stopped at any moment, the measurement goes on and ends as one never stopped.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.progress import Chunk, keys_of
from netwright.rng import stream
from netwright.runs.ledger import Row
from netwright.runs.run import Run
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import Enumerable, SearchSpace


@dataclass(frozen=True)
class Measurement:
    """What is to be measured, and where.

    Attributes:
        folder: Of the runs.
        space: Of the architectures.
        archs: Members of the space, simplified, each once; evaluated in this order.
        seeds: Of the evaluations; every architecture is evaluated once with each.
        config: What tells this measurement from another, as plain values that TOML can express.
        completed: Adds to the configuration of a run that is there what it could not say yet when
            it was made; by default nothing.
    """

    folder: Path
    space: SearchSpace
    archs: ArchitectureBatch
    seeds: Sequence[int]
    config: dict[str, Any]
    completed: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def __post_init__(self) -> None:
        if not len(self.archs) or not self.seeds:
            raise ValueError("a measurement needs at least one architecture and one seed")

    @property
    def total(self) -> int:
        """How many evaluations it has in the end."""
        return len(self.archs) * len(self.seeds)

    def execute(self, evaluator: Evaluator, *, workers: int = 1) -> Generator[Chunk, None, None]:
        """Measure what is not measured yet; yield results as they come, on the disk already.

        Raises:
            ValueError: If the folder has a run of another measurement.
            BlockingIOError: If another process is at work in it.
            Exception: As `Run.execute` does.
        """
        for run, seed in [(self._opened(seed), seed) for seed in self.seeds]:
            if run.ledger.count() == len(self.archs):
                continue
            events = run.execute(
                self.space,
                _InOrder(self.space, self.archs),
                evaluator,
                budget=len(self.archs),
                batch_size=len(self.archs),
                seed=seed,
                workers=workers,
            )
            with closing(events):
                for event in events:
                    if isinstance(event, Chunk) and event.status == "evaluated":
                        yield event

    def count(self) -> int:
        """Return the number of evaluations so far.

        Raises:
            ValueError: If the folder has a run of another measurement.
        """
        made = [seed for seed in self.seeds if self._made(seed)]
        return sum(self._opened(seed).ledger.count() for seed in made)

    def results(self) -> list[Evaluation]:
        """Return what was measured with each seed, one entry for each of the architectures.

        Raises:
            ValueError: If the measurement is not complete.
        """
        return [self._result(seed) for seed in self.seeds]

    def _result(self, seed: int) -> Evaluation:
        rows = {row.key: row for row in self._opened(seed).ledger.rows() if row.index >= 0}
        found = [rows.get(key) for key in keys_of(self.archs)]
        done = [row for row in found if row is not None]
        if len(done) < len(found):
            raise ValueError(
                f"{self._place(seed)} has {len(done)} of {len(found)} evaluations: go on with "
                "the same command"
            )
        return _evaluation(done)

    def _place(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def _made(self, seed: int) -> bool:
        return (self._place(seed) / "config.toml").exists()

    def _opened(self, seed: int) -> Run:
        """Open or make the run of a seed."""
        place, wanted = self._place(seed), {**self.config, "seed": seed}
        if not self._made(seed):
            return Run.create(place, wanted)
        run = Run.open(place)
        known, asked = _flat(self.completed(run.config)), _flat(wanted)
        for name in sorted(known.keys() | asked.keys()):
            if known.get(name) != asked.get(name):
                raise ValueError(
                    f"{place} was made with {name} = {known.get(name)!r}, not "
                    f"{asked.get(name)!r}: use another folder, or delete this one"
                )
        return run


def chosen(space: SearchSpace, sample: int | None, *, seed: int) -> ArchitectureBatch:
    """Return all architectures of a space, or ``sample`` different ones drawn at random.

    Raises:
        ValueError: If the space cannot be listed and no sample is asked for, or has fewer.
    """
    if sample is None:
        if not isinstance(space, Enumerable):
            raise ValueError(f"{space.name} cannot be listed as a whole: give the size of a sample")
        return space.enumerate()
    archs = Fresh(space).random(sample, rng=stream(seed, "measure/sample")).archs
    if len(archs) < sample:
        raise ValueError(f"{space.name} has {len(archs)} architectures, not {sample}")
    return archs


class _InOrder:
    """Proposes a list of architectures, in its order, whatever the scores.

    It heeds the rules of a `Searcher` but one: chance has no part in it.
    """

    def __init__(self, space: SearchSpace, archs: ArchitectureBatch) -> None:
        self._archs, self._fresh = archs, Fresh(space)

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        del rng
        left = self._archs[self._fresh.unseen(self._archs)][:n]
        self._fresh.add(left)
        return Proposals.of(left, "listed")

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        del rng
        self._fresh.admit(archs, score)

    def state_dict(self) -> dict[str, Any]:
        return self._fresh.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._fresh.load_state_dict(state)

    def stats(self) -> dict[str, float]:
        return {}


def _evaluation(rows: Sequence[Row]) -> Evaluation:
    """Read results back from a ledger, in 64 bits."""
    nan = float("nan")
    names = dict.fromkeys(name for row in rows for name in row.extras)

    def column(values: list[float]) -> Float[Tensor, " batch"]:
        return torch.tensor(values, dtype=torch.float64)

    return Evaluation(
        column([nan if row.score is None else row.score for row in rows]),
        column([row.cost for row in rows]),
        {name: column([row.extras.get(name, nan) for row in rows]) for name in names},
        tuple(row.error for row in rows),
    )


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as ``a.b = value``."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
