"""What the commands do with a fit: its page and its samples."""

from pathlib import Path

import torch

from netwright.config.fits import FitConfig, load_generator, read_graphs
from netwright.config.objects import make_space
from netwright.generators.base import HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.latent_page import latent_page, scores_of
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import rejection_sample

#: Training graphs whose encodings tell where in the latent space to draw.
_ENCODED = 5000


def report_fit(folder: Path, out: Path | None, table: Path | None, metric: str | None) -> Path:
    """Write the page about the latent space of a fit; return its path."""
    from netwright.report.latent import write_latent_report  # the chart stack takes a second

    run = FitRun.open(folder)
    page, space = latent_page(run, scores=scores_of(run, table, metric))
    return write_latent_report(page, space, out or folder / "report.html")


def sample_fit(folder: Path, n: int, seed: int) -> list[str]:
    """Draw valid architectures from the generator of a fit, in their space's text form.

    Latent points are drawn with the mean and the standard deviation of the encodings of training
    graphs, as by the published protocol: with a small weight of the divergence, encodings are not
    distributed like the prior.
    """
    run = FitRun.open(folder)
    config = FitConfig.parse(run.config)
    space, generator = make_space(config.space), load_generator(run)
    rng = stream(seed, "sample")
    if not isinstance(generator, HasLatent):
        archs = rejection_sample(space, n, lambda count: generator.sample(count, rng=rng))
        return space.to_text(archs)
    known = encode_means(generator, read_graphs(config, space).train[:_ENCODED])
    mean, sd, decode = known.mean(dim=0), known.std(dim=0), generator.decode

    def draw(count: int) -> ArchitectureBatch:
        noise = torch.randn(count, len(mean), generator=rng, dtype=mean.dtype)
        return decode(mean + sd * noise, rng=rng)

    return space.to_text(rejection_sample(space, n, draw))
