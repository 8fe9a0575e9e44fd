"""The report page of runs, and the configuration that a run folder holds."""

from functools import partial
from pathlib import Path
from typing import Any

from netwright.cli.output import remark
from netwright.cli.samples import update_samples
from netwright.config.base import SpaceConfig, merge
from netwright.config.objects import make_space
from netwright.config.schema import RunConfig
from netwright.report.latent_path import search_path
from netwright.report.parts import Section
from netwright.reproductions.latent_path import latent_path
from netwright.runs.run import Run


def write_page(runs: list[Run], path: Path, space: str | None = None) -> Path:
    """Write the report of runs of one space, by default the one their configurations name.

    What a run's generator draws is part of it, and is drawn if it was not yet.
    """
    from netwright.report.page import write_report  # the chart stack takes a second to import

    if space is not None:
        found = make_space(SpaceConfig(name=space))
    elif any("space" not in run.config for run in runs):
        raise ValueError("a run made in Python does not name its space: give --space")
    else:
        names = {run.config["space"]["name"] for run in runs}
        if len(names) > 1:
            raise ValueError(f"runs of different spaces cannot share a report: {', '.join(names)}")
        found = make_space(stored_config(runs[0]).space)
    for run in runs:
        if {"space", "method", "evaluator"} <= run.config.keys():  # not of a run made in Python
            update_samples(run, partial(stored_config, run))
    return write_report(runs, found, path, more=_latent_paths(runs))


def _latent_paths(runs: list[Run]) -> list[Section]:
    """Return the section on the latent space that a search went through, if it had one.

    Where the fit has gone that the search used, that is a remark: the rest of the page is true.
    """
    if len(runs) > 1 or runs[0].config.get("method", {}).get("name") != "latent-bo":
        return []
    try:
        return [search_path(latent_path(runs[0]))]
    except (ValueError, OSError) as error:
        remark(f"{runs[0].folder}: the report lacks the search in the latent space: {error}")
        return []


def stored_config(run: Run, changes: dict[str, Any] | None = None) -> RunConfig:
    """Return the configuration of a run folder, with ``changes``."""
    known = RunConfig.model_fields.keys()
    values = {key: value for key, value in run.config.items() if key in known}
    return RunConfig.parse(merge(values, changes or {}))
