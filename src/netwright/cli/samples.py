"""What the generator of a run draws, for its report."""

import math
from collections.abc import Callable

import torch

from netwright.cli.output import remark
from netwright.config.objects import make_space
from netwright.config.schema import RunConfig
from netwright.config.searchers import make_searcher
from netwright.files import load_state
from netwright.generators.base import Generator, HasLogProb
from netwright.generators.trace import Stepwise, trace
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.runs.samples import Draw, Samples, SampleTrace, TraceStep
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.base import SearchSpace

#: Graphs drawn: a share among them is known to three percent or better; and of large graphs, which
#: take seconds each, fewer: to six percent.
DRAWS, LARGE_DRAWS = 256, 64
_LARGE = 12  # nodes; more are large
_AT_ONCE = 32  # likelihoods of large graphs take memory


def update_samples(run: Run, config: Callable[[], RunConfig]) -> Samples | None:
    """Return what the run's generator draws, from its last checkpoint; None if it has none.

    The result is kept in the run folder until the search goes on. Where nothing can be drawn,
    because the checkpoint is damaged or a method's file has gone, that is a remark: the ledger
    and the rest of a report need no generator.

    Args:
        run: The run.
        config: Reads its configuration.

    Raises:
        ValueError: If the file in the run folder is damaged.
        OSError: If the file cannot be written.
    """
    known = Samples.read(run.folder)
    if not run.checkpoint.exists():
        return known
    try:
        samples = _draw_anew(run, config(), known)
    except (ValueError, LookupError, TypeError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        remark(f"no samples of the generator of {run.folder}: {reason}")
        return known
    if samples is not None and samples is not known:
        samples.write(run.folder)
    return samples


def _draw_anew(run: Run, config: RunConfig, known: Samples | None) -> Samples | None:
    """Draw from the checkpoint's generator, unless ``known`` was drawn from the same."""
    space = make_space(config.space)
    searcher = make_searcher(config.method, space, rng=stream(config.seed, "searcher/init"))
    if not isinstance(searcher, Reinforce) or not isinstance(searcher.policy, Generator):
        return known
    state = load_state(run.checkpoint)
    if known is not None and known.last_row == state["last_row"]:
        return known
    searcher.load_state_dict(state["searcher"])
    rng = stream(config.seed, "samples")
    return draw_samples(searcher.policy, space, last_row=state["last_row"], rng=rng)


@torch.no_grad()
def draw_samples(
    generator: Generator,
    space: SearchSpace,
    *,
    n: int | None = None,
    last_row: int = 0,
    rng: torch.Generator,
) -> Samples:
    """Draw graphs, see what they are worth as architectures, and trace the first valid one.

    Args:
        generator: Draws.
        space: Judges.
        n: How many graphs; by default `DRAWS`, or `LARGE_DRAWS` where graphs may be large.
        last_row: The last row of the ledger that the generator knew.
        rng: Source of all randomness.
    """
    if n is None:
        n = LARGE_DRAWS if space.layout.max_nodes > _LARGE else DRAWS
    drawn = generator.sample(n, rng=rng)
    archs = space.simplify(drawn)
    valid = space.is_valid(archs)
    members = archs[valid]
    density = space.layout.density(members).tolist()
    facts = iter(
        zip(space.to_text(members), hashing.to_hex(space.keys(members)), density, strict=True)
    )
    likelihood: list[float] = [math.nan] * n
    if isinstance(generator, HasLogProb):
        parts = [generator.log_prob(drawn[i : i + _AT_ONCE]) for i in range(0, n, _AT_ONCE)]
        likelihood = torch.cat(parts).tolist()
    draws = []
    for ok, log_prob in zip(valid.tolist(), likelihood, strict=True):
        arch, key, share = next(facts) if ok else (None, None, None)
        told = log_prob if math.isfinite(log_prob) else None
        draws.append(Draw(arch=arch, key=key, density=share, log_prob=told))
    shown = int(valid.long().argmax())  # the first valid one, or the first of all
    steps = None
    if isinstance(generator, Stepwise) and math.isfinite(likelihood[shown]):
        steps = _traced(generator, drawn[shown : shown + 1], likelihood[shown])
    return Samples(last_row=last_row, draws=tuple(draws), trace=steps)


def _traced(generator: Stepwise, arch: ArchitectureBatch, log_prob: float) -> SampleTrace:
    """Write a trace as plain values."""
    found = trace(generator, arch)
    steps = []
    for i in range(len(found.op)):
        steps.append(
            TraceStep(
                op=int(found.op[i]),
                op_probability=tuple(found.op_probability[i].tolist()),
                edges=tuple(found.edges[i].nonzero()[:, 0].tolist()),
                edge_probability=tuple(found.edge_probability[i, :i].tolist()),
                free=tuple(found.free[i, :i].tolist()),
                weight=tuple(found.weight[i].tolist()),
                log_op=float(found.log_op[i]),
                log_edges=float(found.log_edges[i]),
            )
        )
    return SampleTrace(steps=tuple(steps), log_prob=log_prob)
