"""The way of a search through the latent space of a generator fitted for a moment."""

import math

import pytest
import torch

from netwright.config.fits import FitConfig, load_generator, make_fit
from netwright.evaluation import Evaluation
from netwright.generators.latent import encode_means
from netwright.graphs import hashing
from netwright.progress import Chunk
from netwright.reproductions.latent_path import SAMPLE, latent_path
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.run import Run
from netwright.searchers.base import Proposals
from netwright.spaces.nasbench201 import NASBench201

SPACE = NASBench201()
NAN = math.nan


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    config = FitConfig.parse(
        {
            "space": "nasbench201",
            "method": {"name": "svge", "hidden": 8, "latent_size": 5},
            "recipe": {"graphs": 256, "valid_graphs": 0},
        }
    )
    run = FitRun.create(tmp_path_factory.mktemp("fit") / "fit", config.resolved())
    for _ in run.execute(make_fit(config)):
        pass
    return run


def searched(folder, model, *scores, **labels):
    """A run with these scores, and labels of any other status."""
    method = {"name": "latent-bo"} | ({"model": str(model)} if model else {})
    run = Run.create(folder, {"space": {"name": "nasbench201"}, "method": method})
    for status, values in {"evaluated": scores, **labels}.items():
        if not values:
            continue
        archs = SPACE.sample(len(values), rng=stream(0, status))
        keys = tuple(hashing.to_hex(SPACE.keys(archs)))
        numbers = tuple(range(len(values))) if status != "initial" else (-1,) * len(values)
        known = Evaluation(
            torch.tensor(values, dtype=torch.double),
            torch.ones(len(values)),
            error=tuple("failed" if math.isnan(value) else None for value in values),
        )
        chunk = Chunk(0, numbers, keys, Proposals.of(archs, "made"), known, status)
        run.ledger.append(chunk, SPACE.to_text(archs))
    return run


def test_points_are_the_latent_means_of_what_was_scored(fit, tmp_path):
    run = searched(tmp_path / "run", fit.folder, 0.3, NAN, 0.2, 0.5, initial=(0.1, 0.25))
    path = latent_path(run)
    assert path.generator == "svge"
    assert [row.score for row in path.rows] == [0.1, 0.25, 0.3, 0.2, 0.5]
    assert [row.index for row in path.rows] == [-1, -1, 0, 2, 3]
    assert path.incumbents == [1, 2, 4]
    generator = load_generator(fit)
    means = encode_means(generator, SPACE.from_text([row.arch for row in path.rows]))
    # Distances in a plane are those in the space, less what lies at right angles to it.
    far = torch.cdist(means, means)
    near = torch.cdist(path.points, path.points)
    assert (near <= far + 1e-4).all()
    share = sum(path.explained)
    assert 0.3 < share <= 1
    sample = SPACE.simplify(SPACE.sample(SAMPLE, rng=stream(0, "report/latent path")))
    spread = encode_means(generator, sample).double()
    centred = spread - spread.mean(dim=0)
    total = centred.square().sum()
    assert float(path.background.double().square().sum() / total) == pytest.approx(share, rel=1e-3)
    assert float(path.background.mean(dim=0).abs().max()) < 1e-3
    # The same graphs, so the same basis: three points fix it, and others agree.
    design = torch.cat([centred, torch.ones(len(centred), 1).double()], dim=1)
    basis = torch.linalg.lstsq(design, path.background.double()).solution
    placed = means.double() - spread.mean(dim=0)
    expected = placed @ basis[:-1] + basis[-1]
    torch.testing.assert_close(path.points.double(), expected, atol=1e-3, rtol=1e-3)


def test_repeats_are_left_out_and_any_fit_can_be_given(fit, tmp_path):
    run = searched(tmp_path / "run", None, 0.3, 0.4, repeat=(0.3,))
    path = latent_path(run, fit=fit)
    assert [row.status for row in path.rows] == ["evaluated"] * 2
    with pytest.raises(ValueError, match="names no fit"):
        latent_path(run)


def test_what_is_missing_is_said(fit, tmp_path):
    with pytest.raises(ValueError, match="has no score yet"):
        latent_path(searched(tmp_path / "none", fit.folder))
    with pytest.raises(ValueError, match="gone"):
        latent_path(searched(tmp_path / "fitless", tmp_path / "gone", 0.5))
