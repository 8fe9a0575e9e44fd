"""Cells of eight nodes and their ranking ([SVGe] section IV-E).

The paper expands the best cell of seven nodes "to graphs with 8 nodes (1,384 graphs in total)".
The released code shows of what they consist: 192 graphs with a node appended, 192 with one
prepended, and 1,000 that are random and owe nothing to the best cell. All of the expansions have
more than the 9 edges that NAS-Bench-101 allows (10 to 16), and the random graphs 20 on average; so
here, too, the space of candidates knows no limit of edges.

Two cells are expanded: the best of seven nodes by the table's search signal, which is emulated, and
the paper's, which the released code names and whose test accuracy in the table, 94.09, is that of
Table IV's oracle. Candidates come from two further sources, told apart by their origin: one more
node put into these cells with two edges ("inserted"), and graphs decoded around the encodings of
the best cells ("decoded"). What is invalid or isomorphic to another is left out.

The predictor is the paper's: the generator, fitted to cells of at most seven nodes, and a regressor
on its latent space, trained on 1,000 labels of such cells. Its parameters fit any number of nodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.config.fits import load_generator
from netwright.files import load_state, save_state
from netwright.generators.base import HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.growth import appended, prepended
from netwright.metrics import kendall_tau
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.surrogates.latent import LatentPredictor
from netwright.tables.format import Table

NODES = 8
#: The candidates: every graph of 8 nodes on paths from input to output, of any number of edges.
SPACE = NASBench101(NODES, NODES * (NODES - 1) // 2)
SIGNAL = "cifar10/valid-emulated@108"

#: The best cell by validation accuracy in the official records ([SVGe] section IV-E, as released).
PAPERS_BEST = (
    "input,conv3x3-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,conv1x1-bn-relu,output:"
    "0110101000001000010000000100000001000000010000000"
)

_PAIRS_DRAWN = 40  # of a random graph, as released
_INTERIOR = (1, 2, 3)


class Effort(NamedTuple):
    """How much is spent on the ranking.

    Attributes:
        random: Random graphs drawn.
        decoded: Graphs decoded.
        labels: Labels that the predictor learns from.
        held_out: Others that it is tested on.
    """

    random: int = 1000
    decoded: int = 10_000
    labels: int = 1000
    held_out: int = 2000


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates in the order of their prediction, the best first.

    Attributes:
        archs: The candidates, each once.
        origin: Where each is from.
        predicted: Its validation accuracy, as the predictor sees it.
        tau: Kendall's rank correlation of the predictor on held-out cells of at most seven nodes.
        made_from: What it was made from, see `made_from`.
    """

    archs: ArchitectureBatch
    origin: tuple[str, ...]
    predicted: Float[Tensor, " candidate"]
    tau: float
    made_from: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write a file."""
        tree = {
            "archs": SPACE.to_text(self.archs),
            "origin": self.origin,
            "predicted": self.predicted,
            "tau": self.tau,
            "made_from": self.made_from,
        }
        save_state(path, tree)

    @classmethod
    def load(cls, path: Path) -> "Ranking":
        """Read what `save` wrote.

        Raises:
            ValueError: If the file is damaged.
        """
        tree = load_state(path)
        archs = SPACE.from_text(tree["archs"])
        return cls(archs, tuple(tree["origin"]), tree["predicted"], tree["tau"], tree["made_from"])


def best_cells(table: Table, n: int, *, nodes: int | None = None) -> ArchitectureBatch:
    """Return the cells with the highest search signal, of equals the first of the table.

    Args:
        table: Of NAS-Bench-101.
        n: How many.
        nodes: Only cells of exactly that many nodes.
    """
    archs = table.archs(torch.arange(len(table)))
    signal = table.column(SIGNAL)
    if nodes is not None:
        signal = torch.where(archs.num_nodes == nodes, signal, -1.0)
    return archs[signal.argsort(descending=True, stable=True)[:n]]


def parents_of(table: Table) -> ArchitectureBatch:
    """Return the cells of seven nodes to expand: the best of the table, and the paper's."""
    papers = SPACE.from_text([PAPERS_BEST]).pad(NODES - 1)
    return ArchitectureBatch.cat([best_cells(table, 1, nodes=NODES - 1), papers])


def random_graphs(n: int, *, rng: torch.Generator) -> ArchitectureBatch:
    """Draw graphs of eight nodes as the released code does.

    Two nodes are drawn forty times and joined if they differ, so that a pair is joined with
    probability 1 - (31/32)^40 = .72; operations are uniform. Graphs may have nodes on no path.
    """
    ends = torch.randint(NODES, (2, n, _PAIRS_DRAWN), generator=rng)
    adj = torch.zeros(n, NODES, NODES, dtype=torch.bool)
    graph = torch.arange(n)[:, None]
    adj[graph, ends.amin(dim=0), ends.amax(dim=0)] = True
    ops = torch.zeros(n, NODES, dtype=torch.long)
    ops[:, 1:-1] = torch.randint(1, len(_INTERIOR) + 1, (n, NODES - 2), generator=rng)
    ops[:, -1] = SPACE.layout.end_op or 0
    return ArchitectureBatch.masked(ops, adj, torch.full((n,), NODES))


def decoded_graphs(
    generator: HasLatent,
    around: ArchitectureBatch,
    known: ArchitectureBatch,
    n: int,
    *,
    spread: float = 0.5,
    rng: torch.Generator,
) -> ArchitectureBatch:
    """Decode graphs around the encodings of cells.

    Args:
        generator: Over a layout of eight nodes.
        around: The cells, in turn.
        known: Cells whose encodings tell the size of the latent space.
        n: Number of graphs.
        spread: Standard deviation of the Gaussian noise, in those of the encodings of ``known``.
        rng: Of noise and decoding.
    """
    centre = encode_means(generator, around)
    sd = encode_means(generator, known).std(dim=0)
    noise = torch.randn(n, len(sd), generator=rng).to(sd)
    points = centre[torch.arange(n) % len(centre)] + spread * sd * noise
    with torch.no_grad():
        parts = [generator.decode(some, rng=rng) for some in points.split(1000)]
    return ArchitectureBatch.cat(parts)


def distinct_candidates(
    sources: dict[str, ArchitectureBatch],
) -> tuple[ArchitectureBatch, tuple[str, ...]]:
    """Return the valid graphs of exactly eight nodes, isomorphic ones once, with their origins.

    A graph found twice is counted for the first source.
    """
    archs = ArchitectureBatch.cat(list(sources.values())).pad(NODES)
    origin = [name for name, found in sources.items() for _ in range(len(found))]
    fit = (SPACE.is_valid(archs) & (archs.num_nodes == NODES)).nonzero()[:, 0]
    kept = fit[hashing.first_of_each(SPACE.keys(archs[fit]))]
    return archs[kept], tuple(origin[i] for i in kept.tolist())


def rank(run: FitRun, table: Table, effort: Effort, *, seed: int) -> Ranking:
    """Make candidates and rank them by the predictor.

    Args:
        run: A fit to NAS-Bench-101 of a generator whose parameters fit any number of nodes.
        table: Its measurements.
        effort: How much.
        seed: Of all that is random.

    Raises:
        ValueError: If the fit is of another space or has no latent space, or the table too small.
    """
    generator = load_generator(run, space=SPACE)
    if not isinstance(generator, HasLatent):
        raise ValueError(f"{run.folder} has no latent space: take a fit of svge")
    chosen = _labelled(table, effort, seed=seed)
    known, score = table.archs(chosen).pad(NODES), table.column(SIGNAL)[chosen]
    parents = parents_of(table)
    around = best_cells(table, 20).pad(NODES)
    archs, origin = distinct_candidates(
        {
            "appended": _each(parents, lambda parent: appended(parent, _INTERIOR)),
            "prepended": _each(parents, lambda parent: prepended(parent, _INTERIOR)),
            "inserted": _each(parents, SPACE.neighbours),
            "random": random_graphs(effort.random, rng=stream(seed, "extrapolation/random")),
            "decoded": decoded_graphs(
                generator, around, known, effort.decoded, rng=stream(seed, "extrapolation/decoded")
            ),
        }
    )
    predictor = LatentPredictor(generator)
    n = effort.labels
    predictor.fit(known[:n], score[:n], rng=stream(seed, "extrapolation/predictor"))
    predicted = predictor.predict(archs)
    order = predicted.argsort(descending=True, stable=True)
    tau = kendall_tau(predictor.predict(known[n:]), score[n:])
    origins = tuple(origin[i] for i in order.tolist())
    sources = made_from(run, effort, seed=seed)
    return Ranking(archs[order], origins, predicted[order], tau, sources)


def made_from(run: FitRun, effort: Effort, *, seed: int) -> dict[str, Any]:
    """Tell what a ranking is made from, as JSON values."""
    state = run.state()
    graphs = 0 if state is None else state["counters"][0]
    return {"fit": run.config, "graphs": graphs, "effort": effort._asdict(), "seed": seed}


def strata(n: int, count: int, *, rng: torch.Generator) -> Int[Tensor, " stratum"]:
    """Draw one place from each of ``count`` equal parts of a ranking of ``n``.

    Every place is drawn with the same chance, up to rounding, so that the places drawn stand for
    all; and they are spread over the whole ranking.

    Raises:
        ValueError: If there are more parts than places.
    """
    if not 0 < count <= n:
        raise ValueError(f"{n} candidates cannot be divided into {count} parts: take fewer")
    bounds = torch.linspace(0, n, count + 1).round().long()
    width = (bounds[1:] - bounds[:-1]).double()
    within = (torch.rand(count, generator=rng, dtype=torch.double) * width).floor().long()
    return bounds[:-1] + within


def shares(origin: Sequence[str]) -> dict[str, int]:
    """Count the origins."""
    return {name: origin.count(name) for name in dict.fromkeys(sorted(origin))}


def _each(
    parents: ArchitectureBatch, expand: Callable[[ArchitectureBatch], ArchitectureBatch]
) -> ArchitectureBatch:
    return ArchitectureBatch.cat([expand(parents[i : i + 1]) for i in range(len(parents))])


def _labelled(table: Table, effort: Effort, *, seed: int) -> Int[Tensor, " row"]:
    """Draw rows: first those to learn from, then those to test on."""
    wanted = effort.labels + effort.held_out
    if len(table) < wanted:
        raise ValueError(f"{table.path} has {len(table)} rows, {wanted} are needed: use all of it")
    return torch.randperm(len(table), generator=stream(seed, "extrapolation/labels"))[:wanted]
