"""`netwright report` of a search in the latent space of a fit, which may have gone since."""

import json
import shutil

import torch

from netwright.config.fits import FitConfig, make_fit
from netwright.evaluation import Evaluation
from netwright.graphs import hashing
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.run import Run
from netwright.searchers.base import Proposals
from netwright.spaces.toy import Toy

TITLE = "The search in the latent space"


def test_the_report_shows_the_latent_space_while_the_fit_is_there(run, tmp_path):
    config = FitConfig.parse(
        {
            "space": "toy",
            "method": {"name": "svge", "hidden": 8, "latent_size": 3, "backward": "none"},
            "recipe": {"graphs": 64, "valid_graphs": 0},
        }
    )
    fit = FitRun.create(tmp_path / "fit", config.resolved())
    for _ in fit.execute(make_fit(config)):
        pass
    space = Toy()
    for method in ("latent-bo", "random"):
        searched = Run.create(
            tmp_path / method,
            {"space": {"name": "toy"}, "method": {"name": method, "model": str(fit.folder)}},
        )
        archs = space.sample(5, rng=stream(0, "archs"))
        keys = tuple(hashing.to_hex(space.keys(archs)))
        known = Evaluation(torch.linspace(0.1, 0.9, 5), torch.ones(5))
        chunk = Chunk(0, tuple(range(5)), keys, Proposals.of(archs, "made"), known, "evaluated")
        searched.ledger.append(chunk, space.to_text(archs))

    code, out, err = run("report", "latent-bo", "--space", "toy", "--json")
    assert (code, err) == (0, "")
    page = tmp_path / json.loads(out)["report"]
    assert TITLE in page.read_text()
    code, _, err = run("report", "random", "--space", "toy")
    assert (code, err) == (0, "")
    assert TITLE not in (tmp_path / "random" / "report.html").read_text()
    code, _, err = run("report", "random", "latent-bo", "--space", "toy", "--out", "both.html")
    assert (code, err) == (0, "")
    assert TITLE not in (tmp_path / "both.html").read_text()

    shutil.rmtree(fit.folder)
    code, _, err = run("report", "latent-bo", "--space", "toy")
    assert code == 0
    assert len(err.strip().splitlines()) == 1
    assert "lacks the search in the latent space" in err
    assert "Best score against evaluations" in page.read_text()
    assert TITLE not in page.read_text()
