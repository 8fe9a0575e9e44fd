"""The way of a search through a latent space, computed from its ledger and a generator."""

import math
from pathlib import Path

from netwright.config.base import SpaceConfig
from netwright.config.fits import FitConfig, load_generator
from netwright.config.objects import make_space
from netwright.generators.base import HasLatent
from netwright.generators.latent import PrincipalPlane, encode_means
from netwright.report.latent_path import LatentPath
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.ledger import Row
from netwright.runs.run import Run

#: Architectures of the space whose encodings make the plane, and are its background.
SAMPLE = 3000


def latent_path(run: Run, *, fit: FitRun | None = None, seed: int = 0) -> LatentPath:
    """Encode what a search evaluated, and a sample of its space, and project it on a plane.

    Args:
        run: The search; its configuration names the space.
        fit: Whose generator encodes; None is that of the folder ``model`` of the run's method.
            Any fit to architectures of these operations will do, and any search.
        seed: Of the sample.

    Raises:
        ValueError: If the fit is missing, its generator has no latent space or does not fit, or
            nothing in the ledger has a score.
    """
    if fit is None:
        model = run.config.get("method", {}).get("model")
        if model is None:
            raise ValueError(f"the method of {run.folder} names no fit: give one")
        fit = FitRun.open(Path(model))
    rows = _scored(run)
    if not rows:
        raise ValueError(f"{run.folder} has no score yet: resume the run")
    space = make_space(SpaceConfig.model_validate(run.config["space"]))
    generator = load_generator(fit, space=space)
    if not isinstance(generator, HasLatent):
        name = FitConfig.parse(fit.config).method.name
        raise ValueError(f"a {name} has no latent space to show a search in")
    sample = space.simplify(space.sample(SAMPLE, rng=stream(seed, "report/latent path")))
    background = encode_means(generator, sample)
    means = encode_means(generator, space.from_text([row.arch for row in rows]))
    plane = PrincipalPlane.of(background)
    first, second = plane.explained.tolist()
    return LatentPath(
        FitConfig.parse(fit.config).method.name,
        plane.project(background),
        (first, second),
        plane.project(means),
        rows,
    )


def _scored(run: Run) -> list[Row]:
    """Return what has a score, initial labels first, then evaluations in their order."""
    rows = [row for row in run.ledger.rows() if row.status != "repeat"]
    rows = [row for row in rows if row.score is not None and math.isfinite(row.score)]
    return sorted(rows, key=lambda row: (row.index, row.id))
