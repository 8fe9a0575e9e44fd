"""What a report shows of an adversarial fit, computed from its generator and its valuer."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from netwright import metrics
from netwright.config.adversarial import (
    AdversarialConfig,
    load_adversary,
    load_valuer,
    make_adversarial_recipe,
    read_split,
)
from netwright.config.objects import make_space
from netwright.generators.base import Generator
from netwright.generators.critics import Critic
from netwright.generators.random_graph import RandomGraph
from netwright.generators.relaxed import Relaxed, refined
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.report.adversarial_views import AdversarialPage, Cell, Judged, Measured, Spread
from netwright.reproductions.generated import Looked, Yardstick, measure
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Table
from netwright.tables.splits import Split

#: [GNN2GNN] Table 3, in percent: trained on NAS-Bench-101 less its best 10 %.
PUBLISHED: dict[str, dict[str, float]] = {
    "gnn2gnn": {"novelty": 82.60, "top-5": 45.91, "top-10": 52.21, "top-50": 57.37,
                "acc_90": 81.79, "mean accuracy": 92.04},
    "molgan": {"novelty": 65.41, "top-5": 22.63, "top-10": 27.29, "top-50": 45.20,
               "acc_90": 59.71, "mean accuracy": 89.39},
    "rnn": {"novelty": 96.34, "top-5": 1.69, "top-10": 2.32, "top-50": 4.81,
            "acc_90": 53.04, "mean accuracy": 89.32},
}  # fmt: skip
#: Graphs generated, as by [GNN2GNN] section 4.3.
GENERATED = 1000
#: Cells held out at random that the valuer is asked about.
JUDGED = 3000
_DRAWN = 10
_NAMES = {"gnn2gnn": "GNN2GNN", "molgan": "the MolGAN-like generator", "rnn": "the recurrent GAN"}
_STRONG = re.compile(r"(?<![a-z])conv_?3x3")  # no separable one


@dataclass(frozen=True, eq=False)
class _Trained:
    """A fit as it stands, and what it is compared with."""

    config: AdversarialConfig
    space: SearchSpace
    split: Split
    state: dict[str, Any]
    yardstick: Yardstick


def adversarial_page(
    run: FitRun,
    *,
    table: Path | None = None,
    metric: str | None = None,
    n: int = GENERATED,
    seed: int = 0,
) -> AdversarialPage:
    """Generate with a fit, and measure what comes of it and what its valuer knows.

    Args:
        run: The fit.
        table: Another table of the same space to compare with than that it learned from.
        metric: Another accuracy to compare by than that it learned.
        n: Number of graphs to generate.
        seed: Of all draws.

    Raises:
        ValueError: If the fit has no parameters yet, a table is of another space or lacks the
            metric, or that is no accuracy.
        FileNotFoundError: If a table is gone.
    """
    config, space, state = trained(run)
    yardstick = _yardstick(config, space, table, metric)
    fit = _Trained(config, space, read_split(config, space), state, yardstick)
    generator = load_adversary(config, state)
    archs = generator.sample(n, rng=stream(seed, "report/adversarial"))
    keys = space.keys(archs)
    looked = yardstick.look_up(keys)
    history, seen = state["history"][0], state["counters"][0]
    recipe = make_adversarial_recipe(config, len(fit.split.train))
    warm = 0 < recipe.warmup < 1 and recipe.balance < 1
    return AdversarialPage(
        method=_NAMES[config.method.name],
        data=_data(fit),
        metric=yardstick.metric,
        parameters=sum(parameter.numel() for parameter in generator.parameters()),
        graphs=seen,
        total=recipe.graphs,
        epochs=seen / len(fit.split.train),
        seconds=history[-1]["seconds"] if history else 0.0,
        history=history,
        levels=_levels(fit),
        balance=recipe.balance,
        heeded=recipe.warmup * recipe.graphs if warm else None,
        generated=n,
        spread=_spread(fit, looked),
        measures=_measures(fit, archs, n=n, seed=seed),
        published="[GNN2GNN] Table 3" if _is_published(fit) else "",
        cells=_cells(fit, archs, keys, looked),
        judged=_judged(fit, archs, keys, looked),
    )


def trained(run: FitRun) -> tuple[AdversarialConfig, SearchSpace, dict[str, Any]]:
    """Return what a fit is, its space and its state, to be used on the CPU.

    Raises:
        ValueError: If it has no parameters yet.
    """
    config = AdversarialConfig.parse(run.config).model_copy(update={"device": "cpu"})
    state = run.state()
    if state is None:
        raise ValueError(f"{run.folder} holds no parameters yet: go on with its fit")
    return config, make_space(config.space), state


def all_convolutions(space: SearchSpace) -> RandomGraph | None:
    """Return random graphs whose every operation is a 3x3 convolution, where it may be.

    None if the space has no such operation. That these do well on NAS-Bench-101 without any
    learning is what a trained generator has to be compared with.
    """
    strong = [i for i, name in enumerate(space.op_names) if _STRONG.search(name)]
    if not strong:
        return None
    others = space.layout.allowed_ops[~space.layout.allowed_ops[:, strong[0]]].any(dim=0)
    weights = [float(i == strong[0] or others[i]) for i in range(len(space.op_names))]
    return RandomGraph(space.layout, op_weights=weights)


def drawn(
    generator: Generator, layout: Layout, n: int, *, rng: torch.Generator
) -> ArchitectureBatch:
    """Draw random graphs and refine them as the trained generators do."""
    graphs = Relaxed.of([generator.sample(n, rng=rng)], layout.num_ops)
    return refined(graphs.ops, graphs.adj, layout).archs()


def _yardstick(
    config: AdversarialConfig, space: SearchSpace, table: Path | None, metric: str | None
) -> Yardstick:
    """Return what the fit is compared with; parameters are told if the table has them."""
    opened = Table.open(table or config.data.table)
    opened.require(space)
    parameters = "parameters" if "parameters" in opened.metrics else None
    return Yardstick.of(opened, metric or config.data.metric, parameters)


def _data(fit: _Trained) -> str:
    split = fit.split
    cells = f"{len(split.train):,} architectures with their {split.metric}"
    best, others = len(split.top_rows), len(split.random_rows)
    return f"{cells}; held out: the best {best:,}, and {others:,} at random"


def _levels(fit: _Trained) -> dict[str, float]:
    """Return what losses are for critics that can tell nothing."""
    recipe, scores = fit.config.recipe, fit.split.scores
    if recipe.valuer == "regression":
        blind = float(scores.double().var(correction=0))
    else:
        p = recipe.strong
        blind = -p * math.log(p) - (1 - p) * math.log(1 - p)
    return {"discriminator": 2 * math.log(2), "valuer": blind, "told_apart": 0.5}


def _spread(fit: _Trained, looked: Looked) -> Spread:
    yardstick, split = fit.yardstick, fit.split
    learned = yardstick.look_up(split.train_keys).accuracy
    held_out = None
    if yardstick.metric == split.metric and len(split.top_rows):
        accuracy = yardstick.look_up(_top_keys(fit)).accuracy
        known = accuracy[~accuracy.isnan()]
        held_out = (float(known.min()), float(known.max())) if len(known) else None
    known_rows = yardstick.accuracy[~yardstick.accuracy.isnan()]
    made = looked.accuracy[~looked.accuracy.isnan()]
    return Spread(made, known_rows, metrics.known_max(learned), held_out)


def _top_keys(fit: _Trained) -> Int[Tensor, "top 2"]:
    """Keys of the cells held out as the best."""
    return Table.open(fit.config.data.table).keys[fit.split.top_rows]


def _measures(
    fit: _Trained, archs: ArchitectureBatch, *, n: int, seed: int
) -> tuple[Measured, ...]:
    """Measure the fit's graphs, and those of generators that have not learned."""
    space, yardstick, name = fit.space, fit.yardstick, fit.config.method.name

    def of(archs: ArchitectureBatch) -> dict[str, float]:
        return measure(archs, space, yardstick, fit.split.train_keys).percent()

    found = [Measured("This fit", "var(--hue0)", of(archs))]
    if _is_published(fit):
        found.append(Measured("Published", "var(--hue1)", PUBLISHED[name]))
    trivial = all_convolutions(space)
    if trivial is not None:
        rng = stream(seed, "report/convolutions")
        graphs = drawn(trivial, space.layout, n, rng=rng)
        found.append(Measured("All 3x3 convolutions", "var(--hue2)", of(graphs)))
    rng = stream(seed, "report/random")
    graphs = drawn(RandomGraph(space.layout), space.layout, n, rng=rng)
    return (*found, Measured("Random graphs", "var(--hue5)", of(graphs)))


def _is_published(fit: _Trained) -> bool:
    """Tell whether measures were published of such a fit, if of other data or settings perhaps."""
    return fit.space.name == "nasbench101" and fit.yardstick.metric.startswith("cifar10/test")


def _cells(
    fit: _Trained, archs: ArchitectureBatch, keys: Int[Tensor, "graph 2"], looked: Looked
) -> tuple[Cell, ...]:
    """Choose the best of the different graphs that the table knows and that were not learned."""
    known = ~looked.accuracy.isnan()
    new = (hashing.find(fit.split.train_keys, keys) < 0) & known
    candidates = new.nonzero()[:, 0]
    candidates = candidates[hashing.first_of_each(keys[candidates])]
    order = looked.accuracy[candidates].argsort(descending=True, stable=True)
    chosen = candidates[order][:_DRAWN]
    members = int((~fit.yardstick.accuracy.isnan()).sum())
    top = hashing.find(hashing.distinct(_top_keys(fit)), keys) >= 0
    return tuple(
        Cell(
            arch=archs[i : i + 1],
            text=fit.space.to_text(archs[i : i + 1])[0],
            accuracy=float(looked.accuracy[i]),
            rank=round(float(looked.percentile[i]) * members),
            times=int((keys == keys[i]).all(dim=1).sum()),
            held_out=bool(top[i]),
            parameters=float(looked.parameters[i]),
        )
        for i in chosen.tolist()
    )


def _judged(
    fit: _Trained, archs: ArchitectureBatch, keys: Int[Tensor, "graph 2"], looked: Looked
) -> Judged | None:
    """Ask the valuer about cells held out at random, and about the generated ones."""
    table, split = Table.open(fit.config.data.table), fit.split
    rows = split.random_rows[:JUDGED]
    actual = fit.yardstick.look_up(table.keys[rows]).accuracy
    rows, actual = rows[~actual.isnan()], actual[~actual.isnan()]
    if not len(rows):
        return None
    critic = load_valuer(fit.config, fit.state)
    num_ops = fit.space.layout.num_ops
    value = _values(critic, table.archs(rows), num_ops)
    known = (~looked.accuracy.isnan()).nonzero()[:, 0]
    known = known[hashing.first_of_each(keys[known])]
    made = _values(critic, archs[known], num_ops)
    tau = metrics.kendall_tau(value, actual)
    tau_made = metrics.kendall_tau(made, looked.accuracy[known])
    classifies = fit.config.recipe.valuer == "classification"
    strong = None
    if classifies and fit.yardstick.metric == split.metric:
        best = split.scores.sort(descending=True).values
        strong = float(best[max(1, round(fit.config.recipe.strong * len(best))) - 1])
    predicted = value.sigmoid() if classifies else value
    return Judged(predicted, actual, classifies, tau, tau_made, strong)


@torch.no_grad()
def _values(critic: Critic, archs: ArchitectureBatch, num_ops: int) -> Tensor:
    """Return what a valuer says of each architecture, as it comes."""
    if not len(archs):
        return torch.zeros(0)
    value: Tensor = critic(Relaxed.of([archs], num_ops))[0]
    return value
