"""[SVGe]: Table I, and what its figures show, as fits to be carried out and measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from netwright.config.fits import FitConfig, load_generator, read_graphs
from netwright.config.objects import make_space
from netwright.files import load_state, save_state
from netwright.generators.base import Generator, HasLatent
from netwright.generators.svge import SVGe
from netwright.metrics import edit_distance
from netwright.report.latent import LatentPage
from netwright.reproductions import learning
from netwright.reproductions.protocol import Decode, Known, Measured, Protocol, measure
from netwright.results import Row
from netwright.runs.fits import FitRun
from netwright.spaces.base import SearchSpace

Settings = dict[str, Any]
Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")

SPACES = ("enas", "nasbench101", "nasbench201")
METHODS = {"svge": "SVGe", "dvae": "D-VAE", "dgmg": "DGMG", "arch2vec": "arch2vec"}
MEASURES = ("accuracy", "validity", "uniqueness", "novelty")

#: Table I, in percent: accuracy, validity, uniqueness, novelty.
PUBLISHED: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("enas", "dvae"): (99.96, 100, 37.26, 100),
    ("enas", "dgmg"): (99.29, 100, 37.55, 100),
    ("enas", "svge"): (99.63, 100, 39.03, 100),
    ("nasbench101", "dvae"): (25.89, 82.55, 19.84, 16.52),
    ("nasbench101", "arch2vec"): (98.84, 43.70, 10, 82.84),
    ("nasbench101", "dgmg"): (99.99, 89.7, 29.24, 16.72),
    ("nasbench101", "svge"): (99.57, 79.16, 32.1, 16.37),
    ("nasbench201", "arch2vec"): (99.99, 95.93, 7.33, 13.26),
    ("nasbench201", "dgmg"): (99.97, 100, 5.35, 12.62),
    ("nasbench201", "svge"): (99.99, 100, 8.28, 10.24),
}

#: Graphs to be seen at laptop scale, by space and method: what an hour on two cores allows for
#: SVGe, and 20 minutes for the others.
LAPTOP: dict[str, dict[str, int]] = {
    "enas": {"svge": 240_000, "dgmg": 40_000, "dvae": 50_000, "arch2vec": 171_000},
    "nasbench101": {"svge": 480_000, "dgmg": 120_000, "dvae": 70_000, "arch2vec": 3_050_000},
    "nasbench201": {"svge": 200_000, "dgmg": 70_000, "dvae": 40_000, "arch2vec": 141_000},
}
_RECIPE: Settings = {
    "batch_size": 32,
    "schedule": "cosine",
    "warmup": 2000,
    "clip": 5.0,
    "valid_graphs": 1000,
}
_RATES = {"svge": 2e-3}
_SMOKE: dict[str, Settings] = {
    "svge": {"hidden": 16, "latent_size": 8},
    "dgmg": {"hidden": 16, "latent_size": 8},
    "dvae": {"hidden": 16, "latent_size": 8},
    "arch2vec": {"hidden": 16, "node_latent": 2},
}
_PROTOCOLS: dict[Scale, Protocol] = {
    "smoke": Protocol(2, 10, 2, held_out=20, encoded=100),
    "laptop": Protocol(10, 1000, 10, held_out=2000, encoded=50_000),
    "paper": Protocol(),
}


NOTE = (
    "Trained on the free layout, 90 % of the cells for training. Accuracy: held-out graphs that "
    "decoding the mean of their posterior gives back. Validity (by the published rules), "
    "uniqueness and novelty: graphs decoded from points with the mean and standard deviation of "
    "the training graphs' encodings. Two graphs are the same if they are so to the letter; "
    "*isomorphic*: up to the order of nodes. *Membership*: validity by the rules of the space. "
    "SVGe decodes forward only or as the union of both directions; *valid only* is constrained "
    "decoding (not the paper's), whose validity is 100 by construction. `budget`: graphs seen in "
    "training, where the paper has 300 epochs."
)
FIGURES = {
    "fig2": "SVGe, Fig. 2: a walk on a circle of the latent space",
    "fig3-left": "SVGe, Fig. 3 (left): the latent space in its principal plane",
}
_SMOOTH = (
    "Edits: operations and edges that differ, node by node. A step is a tenth of the line between "
    "the encodings of two held-out cells, or a fourteenth of the circle; random pairs are held-out "
    "cells that have nothing to do with each other."
)
FIGURE_NOTES = {
    "fig2": f"The likeliest graph at each of 14 points. {_SMOOTH}",
    "fig3-left": "Encodings of training cells above 75 % validation accuracy, and what a grid in "
    "their plane decodes to. The grid reaches as far as two standard deviations of the encodings "
    f"(the paper's 0.3 belongs to a latent space of another scale). {_SMOOTH}",
}


class Cell(NamedTuple):
    """A method on a space."""

    space: str
    method: str

    @property
    def name(self) -> str:
        """Like ``nasbench101/svge``."""
        return f"{self.space}/{self.method}"


@dataclass(frozen=True)
class Measures:
    """What one way of decoding came to.

    Attributes:
        cell: The method and the space.
        decoding: "forward", "union", "valid only", or "" where there is one way.
        measured: The measures.
        graphs: Graphs seen in training.
    """

    cell: Cell
    decoding: str
    measured: Measured
    graphs: int


def cells(only: Sequence[str] = ()) -> list[Cell]:
    """Return the rows of Table I, all or those whose name contains one of some words.

    Raises:
        ValueError: If a word is in none.
    """
    every = [Cell(space, method) for space in SPACES for method in METHODS]
    for word in only:
        if not any(word in cell.name for cell in every):
            raise ValueError(
                f"no row has {word!r} in its name: use {', '.join(cell.name for cell in every)}"
            )
    return [cell for cell in every if not only or any(word in cell.name for word in only)]


def fit_config(cell: Cell, scale: Scale, tables: Path, *, seed: int = 0) -> FitConfig:
    """Return the fit of a row.

    Raises:
        FileNotFoundError: If its table is not there, with the command that makes it.
    """
    method: Settings = {"name": cell.method}
    if cell.method == "dvae":
        method["wire_ends"] = True  # as published: decoding joins loose ends to the output
    data: Settings = {}
    if cell.space != "nasbench201":  # that is listed at no cost
        data["table"] = str(_table(cell.space, tables))
    recipe: Settings
    if scale == "paper":
        recipe = {"preset": "paper"}
    elif scale == "smoke":
        method, data = method | _SMOKE[cell.method], data | {"limit": 200}
        recipe = {"graphs": 64, "batch_size": 32, "valid_graphs": 20}
    else:
        graphs = LAPTOP[cell.space][cell.method]
        rate = _RATES.get(cell.method, 1e-3)
        recipe = _RECIPE | {"graphs": graphs, "period": -(-graphs // 16), "learning_rate": rate}
        if cell.method == "arch2vec":
            recipe |= {"schedule": "constant", "warmup": 0}
        if cell == ("nasbench101", "svge"):
            recipe |= {"batch_size": 64}
    return FitConfig.parse(
        {"space": cell.space, "method": method, "data": data, "recipe": recipe, "seed": seed}
    )


def fit_folder(folder: Path, cell: Cell, seed: int) -> Path:
    """Return where the fit of a row is: ``FOLDER/SPACE/METHOD/seed-N``."""
    return folder / cell.space / cell.method / f"seed-{seed}"


def ways(generator: Generator, space: SearchSpace) -> dict[str, Decode]:
    """Return the ways in which a generator decodes, by name."""
    if isinstance(generator, SVGe):
        made: dict[str, Decode] = {}
        if len(generator.layouts) > 1:
            made["forward"] = lambda z, rng: generator.decode(z, rng=rng, direction="forward")
            made["union"] = lambda z, rng: generator.decode(z, rng=rng, direction="union")
        else:
            made[""] = lambda z, rng: generator.decode(z, rng=rng)
        made["valid only"] = lambda z, rng: generator.decode(z, rng=rng, within=space.layout)
        return made
    assert isinstance(generator, HasLatent)
    return {"": lambda z, rng: generator.decode(z, rng=rng)}


def measured(run: FitRun, scale: Scale, *, seed: int) -> list[Measures]:
    """Take the measures of a finished fit, or read those taken before.

    Raises:
        ValueError: If the fit has no parameters yet, or a file is damaged.
    """
    config = FitConfig.parse(run.config)
    cell = Cell(config.space.name, config.method.name)
    path = run.folder / f"measures-{scale}.safetensors"
    state = run.state()
    graphs = 0 if state is None else state["counters"][0]
    if path.exists():
        found = load_state(path)
        if found["graphs"] == graphs:
            return [
                Measures(cell, name, Measured(**values), graphs)
                for name, values in found["ways"].items()
            ]
    space = make_space(config.space)
    generator = load_generator(run)
    assert isinstance(generator, HasLatent)
    protocol = _PROTOCOLS[scale]
    if cell.method == "arch2vec" and scale != "smoke":
        # As published: one graph at each of as many points, since decoding is deterministic.
        points = protocol.points * protocol.draws
        protocol = replace(protocol, points=points, draws=1, reconstructions=1)
    train, held_out = read_graphs(config, space)
    with torch.no_grad():
        known = Known.of(generator, train, protocol)
        results = {
            name: measure(generator, decode, space, known, held_out, protocol, seed=seed)
            for name, decode in ways(generator, space).items()
        }
    tree = {"graphs": graphs, "ways": {name: vars(found) for name, found in results.items()}}
    save_state(path, tree)
    return [Measures(cell, name, found, graphs) for name, found in results.items()]


def is_measured(folder: Path, scale: Scale) -> bool:
    """Tell whether a row is finished."""
    return (folder / f"measures-{scale}.safetensors").exists()


def smoothness_rows(page: LatentPage, item: str) -> list[Row]:
    """Return how much decoded graphs change along walks through the latent space."""
    assert page.circle is not None
    assert page.lines is not None
    walk = edit_distance(page.circle, page.circle[torch.arange(len(page.circle)).roll(-1)])
    values: dict[str, Tensor] = {"edits per step on lines": page.lines.neighbours().flatten()}
    if item == "fig2":
        values = {"edits per step on the circle": walk} | values
    values["edits between random pairs"] = page.lines.random()
    return [
        Row.of("nasbench101", name, found.double().tolist(), method=METHODS["svge"])
        for name, found in values.items()
    ]


def rows_of(found: Sequence[Measures]) -> list[Row]:
    """Return the rows of the results, the published measures first; seeds of a row together."""
    names = dict.fromkeys(name for one in found for name in one.measured.percent())
    others = [name for name in names if name not in MEASURES]
    ways_of = list(dict.fromkeys((one.cell, one.decoding) for one in found))
    rows = []
    for group in (MEASURES, others):
        for cell, decoding in ways_of:
            mine = [one for one in found if (one.cell, one.decoding) == (cell, decoding)]
            for name in group:
                rows += _row(cell, decoding, name, mine)
    return rows


def _row(cell: Cell, decoding: str, name: str, found: Sequence[Measures]) -> list[Row]:
    """Return the row of a measure, or none where nothing valid was decoded."""
    values = [one.measured.percent()[name] for one in found]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return []
    paper = PUBLISHED.get(cell)
    # The constrained form is not the paper's.
    shown = paper is not None and name in MEASURES and decoding != "valid only"
    return [
        Row.of(
            cell.space,
            name,
            values,
            method=METHODS[cell.method],
            preset=decoding or None,
            budget=found[0].graphs,
            paper=float(paper[MEASURES.index(name)]) if shown and paper else None,
        )
    ]


def learning_rows(curves: Sequence[learning.Curve], epoch: Mapping[str, int]) -> list[Row]:
    """Return how fast fits learned, and what their curves foretell for the paper's 300 epochs.

    Args:
        curves: The fits.
        epoch: Graphs per epoch of the published protocol, by space.
    """
    rows = []
    for space, method, records in curves:
        for share in (0.5, 0.9, 0.99):
            seen = learning.reached(records, share)
            if seen is not None:
                name = f"graphs seen until {share:.0%} are reconstructed"
                rows.append(Row.of(space, name, [float(seen)], method=method))
        end = learning.foretold(records, 300 * epoch[space])
        # A curve that has not come half the way tells nothing about its end.
        if end is not None and (records[-1].reconstruction or 0) >= 0.5:
            name = "accuracy foretold for 300 epochs"
            rows.append(Row.of(space, name, [100 * end], method=method))
        last = records[-1]
        rows.append(
            Row.of(
                space,
                "graphs per second in training",
                [last.graphs / last.seconds],
                method=method,
                budget=last.graphs,
            )
        )
    return rows


def _table(space: str, tables: Path) -> Path:
    path = tables / f"{space}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no table {path}: make it with `netwright table import FILE --space {space} "
            f"--out {path}`, or name its folder with --tables or $NETWRIGHT_TABLES"
        )
    return path
