"""The fits that arch2vec's and AG-Net's rows of [GraphPNAS] Tables 4 and 5 search in.

Both learn graphs without their scores, from the space at hand, before any search. One fit serves
all seeds, as in the originals.
"""

from pathlib import Path
from typing import Any

from netwright.config.fits import FitConfig
from netwright.reproductions.experiment import Experiment

#: By name: the method of a fit, its recipe, and, of a large space, how many graphs it learns and
#: what else its recipe has.
FITS: dict[str, dict[str, Any]] = {
    "arch2vec": {"method": "arch2vec", "recipe": {"preset": "paper"}, "limit": 100_000},
    "agnet": {
        "method": {
            "name": "svge", "hidden": 32, "latent_size": 32, "backward": "none", "kl_weight": 1,
        },
        "recipe": {"preset": "fast", "graphs": 50_000, "batch_size": 128},
        "large": {"period": 25_000},  # an epoch of a large space is longer than the fit
    },
}  # fmt: skip
_SMOKE = {"preset": "fast", "graphs": 512, "batch_size": 64, "valid_graphs": 16}
_LARGE = ("nasbench101",)  # its graphs are read from its table, which is faster than to list them


def fits_of(experiment: Experiment, folder: Path) -> list[tuple[str, str]]:
    """Name the fits in a folder that an experiment's methods take, each with its space."""
    wanted = []
    for benchmark, method in experiment.cells:
        settings = method.method if isinstance(method.method, dict) else {}
        path = Path(settings.get("model", ""))
        if path.parent == folder and path.name:
            wanted.append((path.name.removesuffix("-{space}"), str(benchmark.space)))
    return list(dict.fromkeys(wanted))


def fit_config(name: str, space: str, tables: Path, *, smoke: bool = False) -> FitConfig:
    """Return the fit of that name.

    Raises:
        FileNotFoundError: If the table that the space is read from is missing.
        ValueError: If it is of another space.
    """
    wanted = FITS[name]
    data: dict[str, Any] = {}
    if space in _LARGE:
        data = {"table": str(tables / f"{space}.safetensors")}
        if "limit" in wanted:
            data["limit"] = wanted["limit"]
    more = wanted.get("large", {}) if space in _LARGE else {}
    recipe = _SMOKE if smoke else {**wanted["recipe"], **more}
    values = {"space": space, "method": wanted["method"], "data": data, "recipe": recipe}
    return FitConfig.parse(values)
