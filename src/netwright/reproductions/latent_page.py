"""What a report shows of the latent space of a fit, computed from its generator."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.config.fits import FitConfig, load_generator, read_graphs
from netwright.config.objects import make_space
from netwright.generators import latent
from netwright.generators.base import Generator, HasLatent
from netwright.graphs.batch import ArchitectureBatch
from netwright.report.latent import LatentPage, Lines, Metric, Plane
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Table

#: Architectures whose encodings are drawn.
POINTS = 5000
#: Accuracies below this are not drawn, as in [SVGe] Fig. 3.
LOWEST = 0.75
_PAIRS, _STEPS, _GRID = 200, 11, 12


def latent_page(
    run: FitRun,
    *,
    scores: tuple[Table, str] | None = None,
    half_width: float | None = None,
    metrics: tuple[Metric, ...] = (),
    seed: int = 0,
) -> tuple[LatentPage, SearchSpace]:
    """Encode, decode and walk through the latent space of a fit.

    Args:
        run: The fit.
        scores: A table and the metric by which points are coloured.
        half_width: Of the decoded grid; by default twice the standard deviation of the encodings
            along the second principal direction. [SVGe] has 0.3.
        metrics: Rows of a table for the page.
        seed: Of all draws.

    Raises:
        ValueError: If the fit has no parameters yet, its generator no latent space, or the table
            is of another space.
    """
    config = FitConfig.parse(run.config)
    space = make_space(config.space)
    generator = load_generator(run)
    if not isinstance(generator, HasLatent):
        raise ValueError(f"a {config.method.name} has no latent space to report on")
    state = run.state()
    assert state is not None
    train, held_out = read_graphs(config, space)
    shown, score, name = _scored(train, space, scores)
    means = latent.encode_means(generator, shown)
    plane = latent.PrincipalPlane.of(means)
    points = plane.project(means)
    width = float(2 * points[:, 1].std()) if half_width is None else half_width
    rng = stream(seed, "report/latent")
    cells = latent.decoded_grid(generator, plane, k=_GRID, half_width=width, rng=rng).archs
    cell_score = None if scores is None else _look_up(cells, space, *scores)
    walk = latent.circle(generator, flattest(train), rng=rng).archs
    pairs = torch.randint(len(held_out), (2, _PAIRS), generator=rng)
    starts, ends = held_out[pairs[0]], held_out[pairs[1]]
    lines = latent.interpolations(generator, starts, ends, steps=_STEPS, rng=rng).archs
    history = state["history"]
    graphs = state["counters"][0]
    page = LatentPage(
        method=config.method.name,
        data=f"{len(train):,} architectures of {space.name}",
        latent_size=generator.latent_size,
        parameters=_parameters(generator),
        graphs=graphs,
        epochs=graphs / len(train),
        seconds=history[-1]["seconds"] if history else 0.0,
        history=history,
        plane=Plane(points, score, name, _shares(plane), width, cells, cell_score),
        circle=walk,
        lines=Lines(lines, _STEPS, held_out[: 2 * _PAIRS]),
        metrics=metrics,
    )
    return page, space


def flattest(archs: ArchitectureBatch) -> ArchitectureBatch:
    """Return the architecture of the most nodes with the fewest edges, the first of those.

    The walk of [SVGe] Fig. 2 starts at "a flat net".
    """
    rank = archs.num_nodes * archs.max_nodes**2 - archs.num_edges
    return archs[rank.argmax()[None]]


def scores_of(run: FitRun, table: Path | None, metric: str | None) -> tuple[Table, str] | None:
    """Return the table and the metric that colour a page: those given, or those of the fit.

    Raises:
        ValueError: If the table has no such metric, or there is no table to look it up in.
        FileNotFoundError: If there is no such table.
    """
    path = table or FitConfig.parse(run.config).data.table
    if path is None:
        if metric is not None:
            raise ValueError("the fit is not of a table: give the --table that has the metric")
        return None
    opened = Table.open(path)
    if metric is None:
        fractions = [name for name in opened.metrics if opened.units[name] == "fraction"]
        valid = [name for name in fractions if "valid" in name and "run" not in name]
        metric = (valid or fractions or list(opened.metrics))[0]
    opened.column(metric)
    return opened, metric


def _scored(
    train: ArchitectureBatch, space: SearchSpace, scores: tuple[Table, str] | None
) -> tuple[ArchitectureBatch, Float[Tensor, " graph"], str]:
    """Choose the architectures to be drawn, with their scores."""
    if scores is None:
        shown = train[:POINTS]
        return shown, torch.full((len(shown),), torch.nan), "score"
    some = train[: 2 * POINTS]
    score = _look_up(some, space, *scores)
    if scores[0].units[scores[1]] == "fraction":
        high = score >= LOWEST
        if int(high.sum()) >= len(some) // 2:  # where accuracies are like those of the paper
            some, score = some[high], score[high]
    return some[:POINTS], score[:POINTS], scores[1]


def _look_up(
    archs: ArchitectureBatch, space: SearchSpace, table: Table, metric: str
) -> Float[Tensor, " graph"]:
    """Return scores from a table; NaN where it does not have an architecture."""
    table.require(space)
    simple = space.simplify(archs)
    valid = space.is_valid(simple)
    row = table.lookup(space.keys(simple))
    found = valid & (row >= 0)
    values = table.column(metric)[row.clamp(min=0)].float()
    return torch.where(found, values, torch.nan)


def _parameters(generator: Generator) -> int:
    return sum(parameter.numel() for parameter in generator.parameters())


def _shares(plane: latent.PrincipalPlane) -> tuple[float, float]:
    first, second = plane.explained.tolist()[:2]
    return first, second
