"""[SVGe] section IV-E: does the ranking of cells larger than any seen hold (Tables IV and V)?

The paper trains the five candidates ranked first and compares the best of them with the best cell
of seven nodes. That cannot tell whether the ranking did it or the larger size. So here random
candidates, spread over the whole ranking, are trained beside the first ones, and the correlation
of the ranking with what was measured is set against that of the number of parameters.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from netwright.config.objects import make_data
from netwright.evaluators.training import Recipe
from netwright.images.data import ImageData
from netwright.images.reduce import halved, reduced
from netwright.networks.nasbench101 import PRESETS
from netwright.networks.skeleton import Skeleton
from netwright.reproductions import extrapolation_charts as charts
from netwright.reproductions.candidates import (
    NODES,
    PAPERS_BEST,
    SPACE,
    Effort,
    Ranking,
    made_from,
    parents_of,
    rank,
    strata,
)
from netwright.reproductions.extrapolation_rows import (
    ANY,
    BEST,
    EXPANDED,
    PAPERS,
    RANDOM,
    RESNET,
    TOP,
    Done,
    accuracy_rows,
    chosen_rows,
    correlation_rows,
    quoted_rows,
    ranking_rows,
)
from netwright.reproductions.outcome import Outcome
from netwright.reproductions.svge import Scale
from netwright.reproductions.trials import Plan, Setting, carry_out
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.tables.format import Table

Tell = Callable[[str], None]

#: Two convolutions and a shortcut around them: a residual block [He2016] as a cell.
RESIDUAL = "input,conv3x3-bn-relu,conv3x3-bn-relu,output:0101001000010000"

TITLES = {
    "table4": "SVGe, Table IV: extrapolation to cells of 8 nodes",
    "table5": "SVGe, Table V, a substitute: cells found on CIFAR-10, trained on Fashion-MNIST",
}
_HOW = (
    "Candidates: the best cell of seven nodes by the table's (emulated) validation accuracy and "
    "the paper's best one, each with a node appended or prepended (192 graphs of either kind, as "
    "in the paper) or inserted; 1,000 random graphs as in the released code, of which those count "
    "whose nodes all lie on a path; and graphs decoded around the encodings of the 20 best cells. "
    "The paper's have more than the 9 edges of NAS-Bench-101, so here no number is too large. "
    "They are ranked by the predicted validation accuracy: SVGe, fitted to cells of at most 7 "
    "nodes, and a regressor on its latent space, trained together on 1,000 labels. Chosen cells "
    "are trained from scratch; validation and test accuracy are of the same training. `n` counts "
    "trainings, and the 95 % intervals are over them. *Top of the expansions*: the first of those "
    "made from the best cells, which may be among the top of all. At laptop scale images are "
    "halved in size and the network has 16 channels and two cells, so accuracies compare with each "
    "other only, not with published ones. A cell's channels are divided among the operations that "
    "feed its output, so that cells where many do have few parameters. "
    "At paper scale (all images, the benchmark's network, 108 epochs; a GPU's work): "
)
NOTES = {
    "table4": _HOW + "`netwright reproduce svge table4 --scale paper --data cifar10:PATH`. Rank "
    "correlations are over the random candidates, one from each of as many equal parts of the "
    "ranking; their intervals are from 2,000 bootstrap samples of these cells, or over seeds if "
    "there are several. *Parameters held fixed*: Kendall's partial rank correlation. ENAS-14, the "
    "paper's other extrapolation, is quoted only: it needs full training of ENAS networks.",
    "table5": "A substitute: the paper transfers to ImageNet16-120, here it is Fashion-MNIST. "
    + _HOW
    + "`netwright reproduce svge table5 --scale paper --data idx:PATH`.",
}


class Sample(NamedTuple):
    """How many cells are trained, for each seed, and how often.

    Attributes:
        top: Of the ranking.
        expanded: First ones of those made from the best cells.
        strata: Random candidates.
        random: Random cells of seven nodes.
        repeats: Trainings of each of the best cells of seven nodes.
    """

    top: int
    expanded: int
    strata: int
    random: int
    repeats: int


_SAMPLES: dict[Scale, Sample] = {
    "smoke": Sample(2, 1, 3, 2, 2),
    "laptop": Sample(8, 5, 16, 8, 4),
    "paper": Sample(5, 5, 20, 10, 3),
}
#: Of table 5, where each cell but the random ones is trained ``repeats`` times.
_TRANSFERS: dict[Scale, Sample] = {
    "smoke": Sample(1, 1, 0, 1, 2),
    "laptop": Sample(2, 2, 0, 5, 3),
    "paper": Sample(1, 1, 0, 5, 3),
}
_EFFORTS: dict[Scale, Effort] = {
    "smoke": Effort(random=60, decoded=60, labels=40, held_out=40),
    "laptop": Effort(),
    "paper": Effort(),
}
_DRAWN = 6  # of the cells of eight nodes
_DEFAULT_DATA = {"table4": "cifar10:PATH", "table5": "idx:/usr/share/datasets/fashion-mnist"}


def table4(
    fit: FitRun,
    *,
    folder: Path,
    scale: Scale,
    seeds: Sequence[int],
    tables: Path,
    data: str | None,
    tell: Tell,
) -> Outcome:
    """Rank candidates of eight nodes, and test the ranking by training (Table IV).

    Args:
        fit: Of SVGe to NAS-Bench-101.
        folder: Where rankings and trainings are, and go: what is there is not made again.
        scale: "smoke" trains on digits in seconds, "laptop" on 4,000 small images for half a minute
            a cell, "paper" as the benchmark.
        seeds: Each repeats the whole, with other random graphs, labels, samples and trainings.
        tables: Where ``nasbench101.safetensors`` is.
        data: CIFAR-10, like ``cifar10:PATH``; not needed at smoke scale.
        tell: Called with lines on the progress.

    Raises:
        ValueError: If no data are given, the fit is of another space, or the folder holds
            trainings of another setting.
        FileNotFoundError: If the table or the data are missing.
    """
    setting = _setting("table4", scale, data)
    table = Table.open(tables / "nasbench101.safetensors")
    size = _SAMPLES[scale]
    plans, rankings = list[Plan](), list[Ranking]()
    for seed in seeds:
        ranking = _ranking(fit, table, folder, scale, seed, tell)
        rankings.append(ranking)
        chosen = strata(len(ranking.archs), size.strata, rng=stream(seed, "extrapolation/strata"))
        plans += _top_plans(ranking, size, seed, repeats=1)
        plans += [Plan(ANY, arch, seed) for arch in SPACE.to_text(ranking.archs[chosen])]
        plans += _seven_plans(table, size, seed)
    trials = carry_out(plans, setting, SPACE, folder / f"table4-{scale}", tell=tell)
    done = Done(setting.name, plans, trials)
    rows = [
        *accuracy_rows(done, [TOP, EXPANDED, ANY, BEST, PAPERS, RANDOM], scale),
        *chosen_rows(done, seeds, scale),
        *correlation_rows(done, rankings, seeds),
        *ranking_rows(rankings),
        *quoted_rows("table4"),
    ]
    caption = "Accuracy as predicted and as measured, and the cells ranked first"
    return Outcome(rows, _table4_chart(done, rankings[0], table, seeds[0]), caption)


def table5(
    fit: FitRun,
    *,
    folder: Path,
    scale: Scale,
    seeds: Sequence[int],
    tables: Path,
    data: str | None,
    tell: Tell,
) -> Outcome:
    """Train cells found on CIFAR-10 on other images (a substitute for Table V).

    Args:
        fit: Of SVGe to NAS-Bench-101.
        folder: As in `table4`, with which it shares the rankings.
        scale: As in `table4`.
        seeds: As in `table4`.
        tables: Where ``nasbench101.safetensors`` is.
        data: The other images; Fashion-MNIST where its Debian package puts it if None.
        tell: Called with lines on the progress.

    Raises:
        ValueError: As `table4`.
        FileNotFoundError: If the table or the data are missing.
    """
    setting = _setting("table5", scale, data)
    table = Table.open(tables / "nasbench101.safetensors")
    size = _TRANSFERS[scale]
    plans = []
    for seed in seeds:
        ranking = _ranking(fit, table, folder, scale, seed, tell)
        plans += _top_plans(ranking, size, seed, repeats=size.repeats)
        plans += _seven_plans(table, size, seed)
        plans += [Plan(RESNET, RESIDUAL, seed, i) for i in range(size.repeats)]
    trials = carry_out(plans, setting, SPACE, folder / f"table5-{scale}", tell=tell)
    done = Done(setting.name, plans, trials)
    rows = accuracy_rows(done, [TOP, EXPANDED, BEST, PAPERS, RESNET, RANDOM], scale)
    shown = [row for row in rows if row.metric == "test accuracy"]
    chart = charts.groups_svg(shown, title=setting.name) if shown else None
    caption = "Test accuracy, means and 95 % intervals"
    return Outcome([*rows, *quoted_rows("table5")], chart, caption)


def _setting(item: str, scale: Scale, data: str | None) -> Setting:
    """Return what cells are trained on, and how.

    Raises:
        ValueError: If no data are given where they are needed.
        FileNotFoundError: If the data are missing.
    """
    if scale == "smoke":
        some = reduced(make_data("digits"), train=120, test=60, rng=stream(0, "reduced"))
        recipe = Recipe(epochs=2, batch_size=32, crop_padding=1)
        return Setting(_name(some, 2 / 3), some, 2 / 3, Skeleton(8, 2, 1), recipe)
    named = data or _DEFAULT_DATA[item]
    if named.endswith(":PATH"):
        raise ValueError(f"{item} trains on images that are not part of the package: give {named}")
    whole = make_data(named)
    if scale == "paper":
        # As released: 108 epochs, batches of 128, learning rate 0.2, gradients clipped at 5.
        recipe = Recipe(108, 128, 0.2, gradient_clip=5.0, last_epochs=1)
        return Setting(f"{whole.name}, official network", whole, 0.8, PRESETS["official"], recipe)
    some = reduced(whole, train=6000, test=5000, rng=stream(0, "reduced"))
    some = halved(some) if min(some.train_images.shape[-2:]) >= 28 else some
    recipe = Recipe(10, 64, nesterov=True, label_smoothing=0.1, crop_padding=2)
    return Setting(_name(some, 2 / 3), some, 2 / 3, PRESETS["small"], recipe)


def _name(data: ImageData, train_fraction: float) -> str:
    height, width = data.train_images.shape[-2:]
    count = 10 * round(len(data.train_labels) * train_fraction / 10)
    return f"{data.name} ({count:,} images of {height}x{width}, small network)"


def _ranking(
    fit: FitRun, table: Table, folder: Path, scale: Scale, seed: int, tell: Tell
) -> Ranking:
    """Return the ranking of a seed, made before or now.

    Raises:
        ValueError: If the one made before is of another fit.
    """
    path, effort = folder / f"ranking-{scale}-seed-{seed}.safetensors", _EFFORTS[scale]
    if path.exists():
        known = Ranking.load(path)
        if known.made_from != made_from(fit, effort, seed=seed):
            raise ValueError(f"{path} is of another fit: name another folder, or remove it")
        return known
    tell(f"seed {seed}: ranking the candidates")
    found = rank(fit, table, effort, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found


def _top_plans(ranking: Ranking, size: Sample, seed: int, *, repeats: int) -> list[Plan]:
    """Plan the first of all candidates, and the first of those made from the best cells."""
    made = ("appended", "prepended", "inserted")
    places = [i for i, origin in enumerate(ranking.origin) if origin in made][: size.expanded]
    groups = {TOP: ranking.archs[: size.top], EXPANDED: ranking.archs[torch.tensor(places)]}
    return [
        Plan(group, arch, seed, i)
        for group, archs in groups.items()
        for arch in SPACE.to_text(archs)
        for i in range(repeats)
    ]


def _seven_plans(table: Table, size: Sample, seed: int) -> list[Plan]:
    """Plan the best cells of seven nodes and random ones."""
    best, _ = SPACE.to_text(parents_of(table))
    both = [(BEST, best), (PAPERS, PAPERS_BEST)]
    archs = table.archs(torch.arange(len(table)))
    seven = (archs.num_nodes == NODES - 1).nonzero()[:, 0]
    order = torch.randperm(len(seven), generator=stream(seed, "extrapolation/seven"))
    drawn = SPACE.to_text(archs[seven[order[: size.random]]])
    return [
        *(Plan(group, arch, seed, i) for group, arch in both for i in range(size.repeats)),
        *(Plan(RANDOM, arch, seed) for arch in drawn),
    ]


def _table4_chart(done: Done, ranking: Ranking, table: Table, seed: int) -> str:
    """Draw accuracies as predicted and measured, and below the cells of seven nodes and the top."""
    texts = SPACE.to_text(ranking.archs)
    place = {text: i for i, text in enumerate(texts)}
    points = [
        charts.Point(group, 100 * float(ranking.predicted[place[plan.arch]]), 100 * trial.test)
        for group in (TOP, EXPANDED, ANY)
        for plan, trial in done.of(group, seed)
    ]
    parents = parents_of(table)
    best, _ = SPACE.to_text(parents)
    shown = [(BEST, best), (PAPERS, PAPERS_BEST)]
    top = [plan.arch for group in (TOP, EXPANDED) for plan, _ in done.of(group, seed)]
    shown += [(TOP, arch) for arch in dict.fromkeys(top)][:_DRAWN]
    titles = []
    for group, arch in shown:
        done_here = [*done.of(group, seed), *done.of(EXPANDED, seed)]
        found = [trial.test for plan, trial in done_here if plan.arch == arch]
        lines = [group]
        if arch in place:
            i = place[arch]
            lines = [f"#{i + 1} of {len(texts):,}, {ranking.origin[i]}"]
            lines.append(f"predicted {ranking.predicted[i]:.2%}")
        lines.append(f"measured {sum(found) / len(found):.2%}" if found else "not measured")
        titles.append(lines)
    cells = charts.cells_svg(SPACE.from_text([arch for _, arch in shown]), titles, SPACE.op_names)
    images = [charts.scatter_svg(points, title=done.benchmark), cells] if points else [cells]
    return charts.stacked(images, TITLES["table4"])
