"""What the commands do with a fit: its page and its samples."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from netwright.config.adversarial import ADVERSARIES, AdversarialConfig, load_adversary, parse_fit
from netwright.config.fits import FitConfig, load_generator, read_graphs
from netwright.config.objects import make_space
from netwright.generators.base import HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.adversarial_page import adversarial_page, trained
from netwright.reproductions.latent_page import latent_page, scores_of
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import rejection_sample

#: Training graphs whose encodings tell where in the latent space to draw.
_ENCODED = 5000


def report_fit(folder: Path, out: Path | None, table: Path | None, metric: str | None) -> Path:
    """Write the page about the latent space of a fit, or what it generates; return its path.

    Args:
        folder: Of the fit.
        out: The page; in the folder if None.
        table: Colours the latent space, or is what an adversarial fit is compared with.
        metric: By which.
    """
    from netwright.report.adversarial import write_adversarial_report
    from netwright.report.latent import write_latent_report  # the chart stack takes a second

    run = FitRun.open(folder)
    config = parse_fit(run.config)
    if isinstance(config, AdversarialConfig):
        made = adversarial_page(run, table=table, metric=metric)
        path = out or folder / "report.html"
        return write_adversarial_report(made, make_space(config.space), path)
    page, space = latent_page(run, scores=scores_of(run, table, metric))
    return write_latent_report(page, space, out or folder / "report.html")


def sample_fit(folder: Path, n: int, seed: int, temperature: float | None = None) -> list[str]:
    """Draw valid architectures from the generator of a fit, in their space's text form.

    Latent points are drawn with the mean and the standard deviation of the encodings of training
    graphs, as by the published protocol: with a small weight of the divergence, encodings are not
    distributed like the prior.

    Args:
        folder: Of the fit.
        n: How many.
        seed: Of the draws.
        temperature: Divides the logits of an adversarial fit's generator.

    Raises:
        ValueError: If the fit has no parameters yet, or no temperature.
    """
    run = FitRun.open(folder)
    config = parse_fit(run.config)
    rng = stream(seed, "sample")
    if isinstance(config, AdversarialConfig):
        return _generated(run, n, {} if temperature is None else {"temperature": temperature}, rng)
    insist_no_temperature(temperature)
    return _decoded(run, config, n, rng)


def insist_no_temperature(temperature: float | None) -> None:
    """Do nothing if no temperature was given.

    Raises:
        ValueError: If one was.
    """
    if temperature is not None:
        raise ValueError(
            f"--temperature is for fits of {', '.join(ADVERSARIES)}: leave it out for others"
        )


def _generated(run: FitRun, n: int, options: dict[str, Any], rng: torch.Generator) -> list[str]:
    """Draw from an adversarial fit."""
    config, space, state = trained(run)
    generator = load_adversary(config, state)
    draw = partial(generator.sample, rng=rng, **options)
    return space.to_text(rejection_sample(space, n, draw))


def _decoded(run: FitRun, config: FitConfig, n: int, rng: torch.Generator) -> list[str]:
    """Draw from any other fit."""
    space, generator = make_space(config.space), load_generator(run)
    if not isinstance(generator, HasLatent):
        archs = rejection_sample(space, n, lambda count: generator.sample(count, rng=rng))
        return space.to_text(archs)
    known = encode_means(generator, read_graphs(config, space).train[:_ENCODED])
    mean, sd, decode = known.mean(dim=0), known.std(dim=0), generator.decode

    def draw(count: int) -> ArchitectureBatch:
        noise = torch.randn(count, len(mean), generator=rng, dtype=mean.dtype)
        return decode(mean + sd * noise, rng=rng)

    return space.to_text(rejection_sample(space, n, draw))
