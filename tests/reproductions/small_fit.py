"""A small table of NAS-Bench-101 cells, and a generator fitted to them for a moment."""

import torch

from netwright.config.fits import FitConfig, make_fit
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.candidates import PAPERS_BEST, SIGNAL
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table

SPACE = NASBench101()


def write_table(folder, n=800):
    """Score: the share of 3x3 convolutions among five nodes, so that more and larger is better."""
    folder.mkdir(parents=True, exist_ok=True)
    archs = ArchitectureBatch.cat(
        [SPACE.parse([PAPERS_BEST]), SPACE.sample(n, rng=stream(0, "table"))]
    )
    archs = archs[hashing.first_of_each(SPACE.keys(archs))]
    score = (archs.ops == 2).sum(dim=1) / 5 + torch.arange(len(archs)) / 1e5
    rows = Rows(archs, {SIGNAL: Column(score)}, "made", "none")
    return Table.write(folder / "nasbench101.safetensors", SPACE, rows)


def fitted(folder, table, *, graphs=256, **method):
    """Fit a small SVGe to the cells of a table."""
    config = FitConfig.parse(
        {
            "space": "nasbench101",
            "method": {"name": "svge", "hidden": 8, "latent_size": 4} | method,
            "data": {"table": str(table.path)},
            "recipe": {"graphs": graphs, "valid_graphs": 0},
        }
    )
    run = FitRun.create(folder, config.resolved())
    for _ in run.execute(make_fit(config)):
        pass
    return run
