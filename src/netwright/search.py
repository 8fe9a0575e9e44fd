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
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.crew import Crew, Job
from netwright.evaluation import Evaluation, Evaluator, TrainableEvaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.progress import Chunk, Progress, Step, keys_of
from netwright.rng import stream
from netwright.searchers.base import Proposals, Repeating, Searcher

Mode = Literal["batch", "asynchronous"]

#: Steps without a single new architecture after which a searcher counts as stuck.
PATIENCE = 100


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

    A `TrainableEvaluator` is trained before each batch, with ``train_size`` other proposals that
    the searcher is never told of; then every scoring counts, be it of an architecture that was
    scored before.

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
            evaluator that returns too many or too few results. With a `TrainableEvaluator`, on
            a searcher that never repeats itself, several workers, a design or the asynchronous
            mode.
        Exception: Whatever the evaluator raises: a failed program, unlike a failed evaluation.
    """
    for name, value in (("budget", budget), ("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
    progress = progress if progress is not None else Progress.start(seed)
    learns = isinstance(evaluator, TrainableEvaluator)
    if learns:
        _insist_on_rounds(searcher, workers, mode, design)
    progress.by_number = learns
    crew = Crew(evaluator, workers)
    loop = _Loop(searcher, crew, budget, seed, progress, design)
    try:
        if initial is not None and progress.step == 0:
            yield from loop.tell_initial(*initial)
        if isinstance(evaluator, TrainableEvaluator):
            yield from loop.rounds(evaluator, batch_size)
        else:
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
                yield (paid := progress.recorded(late))
                self.tell(paid.proposals.archs, late)
            if not keys and not late:
                return  # the space is exhausted
            self.check_patience(bool(new or recalled or late))
            yield self.end_of_step()

    def one_by_one(self) -> Iterator[Chunk | Step]:
        """Keep all workers busy; tell each result as it comes."""
        progress, done, asked = self.progress, self.progress.done, self.progress.asked
        for name in progress.untold():
            yield (paid := progress.recorded([name]))
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

    def rounds(self, evaluator: TrainableEvaluator, batch_size: int) -> Iterator[Chunk | Step]:
        """Let the evaluator learn, score a batch, tell all of it; every scoring counts."""
        progress = self.progress
        while (left := self.budget - len(progress.told)) > 0:
            lessons = self.ask(evaluator.train_size)
            evaluator.train(lessons.archs, rng=stream(self.seed, f"training/{progress.step}"))
            proposals = self.ask(min(batch_size, left))
            if not len(proposals):
                return
            first = len(progress.told)
            names = [str(number) for number in range(first, first + len(proposals))]
            # What an earlier life was in the midst of: the same proposals, as a rule.
            if known := [name for name in names if name in progress.done]:
                yield progress.recorded(known)
            if new := [row for row, name in enumerate(names) if name not in progress.done]:
                yield from self.evaluate(proposals[torch.tensor(new)])
            self.tell(progress.recorded(names).proposals.archs, names)
            yield self.end_of_step()

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

    def tell(self, archs: ArchitectureBatch, names: Sequence[str]) -> None:
        """Tell the searcher, once more or for the first time, the known scores of ``archs``."""
        found = [self.progress.done[name] for name in names]
        score = [float(chunk.evaluation.score[row]) for chunk, row in found]
        told = torch.tensor(score, dtype=torch.float32, device=archs.device)
        with self.timed():
            self.searcher.tell(archs, told, rng=self.progress.rng)
        self.progress.told.update(map(self.progress.number, names))

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


def _insist_on_rounds(
    searcher: Searcher, workers: int, mode: Mode, design: ArchitectureBatch | None
) -> None:
    """Prepare for an evaluator that learns.

    Raises:
        ValueError: If the search cannot be one of rounds.
    """
    if not isinstance(searcher, Repeating):
        raise ValueError(
            f"{type(searcher).__name__} proposes each architecture once, but the scores of an "
            "evaluator that learns change: use the method graphpnas, rnn or random"
        )
    if workers != 1 or mode != "batch" or design is not None:
        raise ValueError(
            "an evaluator that learns does so in this process, between batches: use 1 worker, "
            "the mode batch and no design"
        )
    searcher.repeat_proposals()
