"""The search loop: the only place where searchers and evaluators meet.

`search` knows no disk. It yields every chunk of results before the next one starts, so that a
caller can commit what was paid for, and a `Step` after every `tell`, at which the caller can save
the state of the search.
"""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.crew import Crew, Job
from netwright.evaluation import Evaluation, Evaluator
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.base import Proposals, Searcher

Mode = Literal["batch", "asynchronous"]
Status = Literal["evaluated", "recalled", "repeat", "initial"]

#: Steps without a single new architecture after which a searcher counts as stuck.
PATIENCE = 100


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results that have just come in.

    Attributes:
        step: The ask/tell round they belong to, from 0.
        index: Number of each evaluation, from 0: it names the random stream it drew from. That
            of the first evaluation for a repeat; -1 for initial labels.
        key: Key of each architecture, 32 hexadecimal digits, equal for isomorphic ones.
        proposals: The architectures and their origins.
        evaluation: Their results.
        status: "evaluated" now; "recalled" from an earlier life of this search; "repeat" of an
            architecture evaluated before (free); "initial", known before the search.
    """

    step: int
    index: tuple[int, ...]
    key: tuple[str, ...]
    proposals: Proposals
    evaluation: Evaluation
    status: Status

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Step:
    """The searcher has been told the results of a step; its state is consistent.

    Attributes:
        step: The ask/tell round, from 0.
        evaluations: Distinct architectures evaluated so far.
        stats: What the searcher has to say of itself.
        seconds: How long it took to propose and to learn.
    """

    step: int
    evaluations: int
    stats: dict[str, float]
    seconds: float = field(default=0.0, compare=False)


@dataclass
class Progress:
    """How far a search has come: with the searcher's own state, all it takes to go on.

    Attributes:
        rng: The searcher's random stream.
        step: Steps told.
        done: Every result so far by architecture key: the chunk it came in, and its row there.
        told: Numbers of the evaluations the searcher has been told.
        asked: Number and proposal of evaluations under way, by key (asynchronous mode).
    """

    rng: torch.Generator
    step: int = 0
    done: dict[str, tuple[Chunk, int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    asked: dict[str, tuple[int, Proposals]] = field(default_factory=dict)

    @classmethod
    def start(cls, seed: int) -> "Progress":
        """The beginning of the search called ``seed``."""
        return cls(stream(seed, "searcher"))

    def state_dict(self) -> dict[str, Any]:
        """Return what the results on disk do not tell."""
        told = torch.tensor(sorted(self.told), dtype=torch.long)
        state = {"step": self.step, "rng": self.rng.get_state(), "told": told, "asked": None}
        if self.asked:
            numbers, parts = zip(*self.asked.values(), strict=True)
            asked = Proposals.cat(parts)
            graphs = {name: getattr(asked.archs, name) for name in ("ops", "adj", "num_nodes")}
            state["asked"] = {"numbers": list(numbers), "origin": list(asked.origin), **graphs}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.told, self.asked = state["step"], set(state["told"].tolist()), {}
        self.rng.set_state(state["rng"])
        if asked := state["asked"]:
            archs = ArchitectureBatch(asked["ops"], asked["adj"], asked["num_nodes"])
            proposals = Proposals(archs, tuple(asked["origin"]))
            for i, (key, number) in enumerate(zip(keys_of(archs), asked["numbers"], strict=True)):
                self.asked[key] = (number, proposals[i : i + 1])

    def recall(self, chunk: Chunk) -> None:
        """Take in results, for example those that an earlier life of this search paid for."""
        for row, key in enumerate(chunk.key):
            self.done[key] = (chunk, row)

    def number(self, key: str) -> int:
        """Return the number of the evaluation of a known architecture."""
        chunk, row = self.done[key]
        return chunk.index[row]

    def untold(self) -> list[Proposals]:
        """Return, one by one, what was evaluated but not told, oldest first."""
        if len(self.done) == len(self.told):  # as at the end of nearly all steps
            return []
        rows = (at for key, at in self.done.items() if self.number(key) not in self.told)
        return [chunk.proposals[row : row + 1] for chunk, row in rows]

    def look_up(self, proposals: Proposals, status: Status) -> Chunk:
        """Return the known results of proposals, at least one; they cost nothing now."""
        keys = keys_of(proposals.archs)
        rows = [self.done[key] for key in keys]
        known = Evaluation.cat([chunk.evaluation[row : row + 1] for chunk, row in rows])
        free = Evaluation(known.score, torch.zeros_like(known.cost), known.extras, known.error)
        return Chunk(self.step, tuple(map(self.number, keys)), keys, proposals, free, status)


def search(
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
    progress: Progress | None = None,
) -> Generator[Chunk | Step, None, None]:
    """Spend ``budget`` evaluations on distinct architectures, yielding results as they come.

    Evaluation ``i`` draws from ``stream(seed, f"evaluation/{i}")``, whatever the order and the
    number of workers. Scores reach the searcher as 32-bit floats. If the iterator is closed,
    evaluations under way are given `GRACE` seconds and then left behind.

    Args:
        searcher: Proposes and learns.
        evaluator: Scores; called from ``workers`` threads at once if there are several, so that
            what takes long should hand its work to another process, as `Isolated` does.
        budget: How many distinct architectures to evaluate, those in ``progress`` included.
        batch_size: How many architectures a step asks for (batch mode).
        seed: Of this search.
        workers: How many chunks are evaluated at the same time.
        mode: "batch" tells a whole step at once and repeats bit for bit; "asynchronous" tells
            each result as it comes and asks for another, so that no worker waits.
        initial: Architectures whose scores are known; told first, not part of the budget.
        design: Architectures, each another, that are proposed first, of origin "design", whatever
            the searcher would propose: searches with an equal one start as pairs. They are told
            like any others, and count.
        progress: Where an earlier life of this search stood; brought up to date in place.

    Raises:
        RuntimeError: If the searcher proposes nothing new for `PATIENCE` steps.
        ValueError: On a budget, batch size or number of workers below 1, an unknown mode, or an
            evaluator that returns too many or too few results.
        Exception: Whatever the evaluator raises: a failed program, unlike a failed evaluation.
    """
    for name, value in (("budget", budget), ("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
    progress = progress if progress is not None else Progress.start(seed)
    crew = Crew(evaluator, workers)
    loop = _Loop(searcher, crew, budget, seed, progress, design)
    try:
        if initial is not None and progress.step == 0:
            yield from loop.tell_initial(*initial)
        yield from loop.batches(batch_size) if mode == "batch" else loop.one_by_one()
    finally:
        crew.dismiss()


class _Loop:
    def __init__(
        self,
        searcher: Searcher,
        crew: Crew,
        budget: int,
        seed: int,
        progress: Progress,
        design: ArchitectureBatch | None,
    ) -> None:
        self.searcher, self.crew, self.progress = searcher, crew, progress
        self.design: dict[str, ArchitectureBatch] = {}
        if design is not None:
            self.design = {key: design[i : i + 1] for i, key in enumerate(keys_of(design))}
        self.budget, self.seed = budget, seed
        self.stuck, self.seconds = 0, 0.0
        # Those not taken in an earlier life, beginning with the holes that its end left.
        taken = {progress.number(key) for key in progress.done}
        taken |= {number for number, _ in progress.asked.values()}
        self.numbers = (number for number in itertools.count() if number not in taken)

    def tell_initial(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"]
    ) -> Iterator[Chunk | Step]:
        known = Evaluation(score, torch.zeros_like(score)).in_decimals()
        proposals = Proposals.of(archs, "initial")
        yield Chunk(0, (-1,) * len(archs), keys_of(archs), proposals, known, "initial")
        with self.timed():
            self.searcher.tell(archs, score.to(archs.device, torch.float32), rng=self.progress.rng)
        yield self.end_of_step()

    def batches(self, batch_size: int) -> Iterator[Chunk | Step]:
        """Ask for a batch, evaluate all of it, tell all of it."""
        progress, done, told = self.progress, self.progress.done, self.progress.told
        while (left := self.budget - len(told)) > 0:
            proposals = self.ask(min(batch_size, left))
            new, recalled, repeats = list[int](), list[int](), list[int]()
            keys, met = keys_of(proposals.archs), set[str]()
            for row, key in enumerate(keys):
                if key in met or (key in done and progress.number(key) in told):
                    repeats.append(row)
                else:
                    (recalled if key in done else new).append(row)
                met.add(key)
            affordable = new[: self.budget - len(done)]
            if recalled:
                yield progress.look_up(proposals[torch.tensor(recalled)], "recalled")
            if affordable:
                yield from self.evaluate(proposals[torch.tensor(affordable)])
            if repeats := [row for row in repeats if keys[row] in done]:
                yield progress.look_up(proposals[torch.tensor(repeats)], "repeat")
            if known := [row for row, key in enumerate(keys) if key in done]:
                self.tell(proposals.archs[torch.tensor(known)], [keys[row] for row in known])
            # Proposing what an earlier life had not, while it paid for more than was proposed
            # again, means that it proposed otherwise (another number of threads).
            late = progress.untold() if new or not keys else []
            if late:
                paid = progress.look_up(Proposals.cat(late), "recalled")
                yield paid
                self.tell(paid.proposals.archs, paid.key)
            if not keys and not late:
                return  # the space is exhausted
            self.check_patience(bool(new or recalled or late))
            yield self.end_of_step()

    def one_by_one(self) -> Iterator[Chunk | Step]:
        """Keep all workers busy; tell each result as it comes."""
        progress, done, asked = self.progress, self.progress.done, self.progress.asked
        for proposal in progress.untold():
            yield (paid := progress.look_up(proposal, "recalled"))
            yield self.tell_one(paid)
        for key in asked.keys() & done.keys():
            del asked[key]
        cut_short = deque(asked.values())  # by the end of an earlier life
        while True:
            while cut_short and self.crew.idle:
                number, proposal = cut_short.popleft()
                self.start((number,), proposal)
            while self.crew.idle and len(done) + len(asked) < self.budget:
                proposal = self.ask(1)
                if not len(proposal):
                    break  # the space is exhausted
                key = keys_of(proposal.archs)[0]
                if key in asked or (key in done and asked and self.stuck == PATIENCE - 1):
                    break  # only a result can help
                if key in done:
                    yield (known := progress.look_up(proposal, "repeat"))
                    self.check_patience(False)
                    yield self.tell_one(known)
                else:
                    number = next(self.numbers)
                    asked[key] = (number, proposal)
                    self.start((number,), proposal)
            if not asked:
                return
            yield (result := self.collect())
            del asked[result.key[0]]
            self.check_patience(True)
            yield self.tell_one(result)

    def evaluate(self, proposals: Proposals) -> Iterator[Chunk]:
        """Evaluate chunk by chunk; yield in the order of completion.

        A worker's next chunk starts only when its last one has been yielded.
        """
        size = self.crew.evaluator.chunk
        parts = deque(proposals[i : i + size] for i in range(0, len(proposals), size))
        while parts or self.crew.pending:
            while parts and self.crew.idle:
                part = parts.popleft()
                self.start(tuple(itertools.islice(self.numbers, len(part))), part)
            yield self.collect()

    def ask(self, n: int) -> Proposals:
        if first := [arch for key, arch in self.design.items() if not self.is_known(key)][:n]:
            return Proposals.of(ArchitectureBatch.cat(first), "design")
        with self.timed():
            proposals = self.searcher.ask(n, rng=self.progress.rng)
        if len(proposals) > n:
            raise ValueError(f"asked for {n} architectures, the searcher proposed {len(proposals)}")
        return proposals

    def is_known(self, key: str) -> bool:
        """Tell whether the searcher was told of an architecture, or will be."""
        progress = self.progress
        told = key in progress.done and progress.number(key) in progress.told
        return told or key in progress.asked

    def start(self, numbers: tuple[int, ...], proposals: Proposals) -> None:
        rngs = [stream(self.seed, f"evaluation/{number}") for number in numbers]
        self.crew.start(Job(numbers, proposals, rngs))

    def collect(self) -> Chunk:
        job, evaluation = self.crew.collect()
        chunk = Chunk(
            self.progress.step,
            job.numbers,
            keys_of(job.proposals.archs),
            job.proposals,
            evaluation.in_decimals(),
            "evaluated",
        )
        self.progress.recall(chunk)
        return chunk

    def tell(self, archs: ArchitectureBatch, keys: Sequence[str]) -> None:
        """Tell the searcher, once more or for the first time, the known scores of ``archs``."""
        found = [self.progress.done[key] for key in keys]
        score = [float(chunk.evaluation.score[row]) for chunk, row in found]
        told = torch.tensor(score, dtype=torch.float32, device=archs.device)
        with self.timed():
            self.searcher.tell(archs, told, rng=self.progress.rng)
        self.progress.told.update(map(self.progress.number, keys))

    def tell_one(self, known: Chunk) -> Step:
        self.tell(known.proposals.archs, known.key)
        return self.end_of_step()

    def check_patience(self, found: bool) -> None:
        self.stuck = 0 if found else self.stuck + 1
        if self.stuck >= PATIENCE:
            raise RuntimeError(
                f"the searcher proposed nothing new in {PATIENCE} steps: lower the budget, "
                "or make its `ask` skip architectures it has seen"
            )

    @contextmanager
    def timed(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    def end_of_step(self) -> Step:
        self.progress.step += 1
        seconds, self.seconds = self.seconds, 0.0
        told, stats = len(self.progress.told), self.searcher.stats()
        return Step(self.progress.step - 1, told, stats, seconds)


def keys_of(archs: ArchitectureBatch) -> tuple[str, ...]:
    """Return the key of each architecture, 32 hexadecimal digits, equal for isomorphic ones."""
    return tuple(hashing.to_hex(hashing.keys(archs)))
