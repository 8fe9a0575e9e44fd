"""Latent points decoded many times: 50 points of 500 draws, as in Bayesian optimisation.

    python benchmarks/repeated_decoding.py                        # fits of `reproduce svge table1`
    python benchmarks/repeated_decoding.py FIT [FIT...]           # others

Each draw alone (`SVGe.decode`, 1,024 at a time), and draws that agree so far decoded together
(`draw_counts`), forward, on one thread. Points are the encodings of 50 architectures, moved by
normal noise of a twentieth of the encodings' standard deviation ("near encodings"), or uniform in
the box of the encodings of 1,000 architectures ("in the box"). Writes
docs/results/repeated-decoding.json and .md.
"""

import sys
import time
from pathlib import Path

import torch
from common import ROOT, publish, show

from netwright.config.fits import FitConfig, load_generator
from netwright.config.objects import make_space
from netwright.generators.latent import draw_counts, encode_means
from netwright.results import Row
from netwright.rng import stream
from netwright.runs.fits import FitRun

POINTS, DRAWS, ENCODED, REPEATS = 50, 500, 1000, 3
AT_ONCE = 1024
FITS = [ROOT / "runs" / "svge" / name / "svge" / "seed-0" for name in ("nasbench101", "enas")]


def places(generator, space):
    """Yield latent points, and what they are called."""
    means = encode_means(generator, space.sample(ENCODED, rng=stream(0, "architectures")))
    noise = torch.randn(POINTS, means.shape[1], generator=stream(0, "noise"))
    yield "near encodings", means[:POINTS] + 0.05 * means.std(dim=0) * noise
    low, high = means.amin(dim=0), means.amax(dim=0)
    share = torch.rand(POINTS, means.shape[1], generator=stream(0, "box"))
    yield "in the box", low + (high - low) * share


def alone(generator, latent, rng):
    """Decode every draw."""
    for rows in latent.repeat_interleave(DRAWS, dim=0).split(AT_ONCE):
        generator.decode(rows, rng=rng, direction="forward")


def together(generator, latent, rng):
    """Decode what draws have in common once."""
    draw_counts(generator, latent, draws=DRAWS, rng=rng)


def measure(folders):
    """Yield the rows of the results."""
    for folder in folders:
        run = FitRun.open(folder)
        config = FitConfig.parse(run.config)
        space, generator = make_space(config.space), load_generator(run)
        for where, latent in places(generator, space):
            for method, work in (("each draw alone", alone), ("shared steps", together)):
                seconds = []
                for seed in range(REPEATS):
                    start = time.perf_counter()
                    work(generator, latent, stream(seed, "decode"))
                    seconds.append(time.perf_counter() - start)
                yield Row.of(
                    benchmark=space.name,
                    method=f"{config.method.name}, {method}",
                    preset=where,
                    metric=f"seconds for {POINTS} points of {DRAWS} draws, 1 thread",
                    values=seconds,
                )
            counts = draw_counts(generator, latent, draws=DRAWS, rng=stream(0, "decode"))
            yield Row.of(
                benchmark=space.name,
                method=config.method.name,
                preset=where,
                metric="distinct graphs at a point",
                values=torch.bincount(counts.point, minlength=POINTS).tolist(),
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = [Path(name) for name in sys.argv[1:]] or [fit for fit in FITS if FitRun.is_one(fit)]
    if not given:
        print("skipped: no fits of SVGe: netwright reproduce svge table1 makes them")
        raise SystemExit
    publish(
        "repeated-decoding",
        show(measure(given)),
        title="Latent points decoded many times: speed",
        seeds=list(range(REPEATS)),
        note="n: repetitions, or points. How each is measured stands at the top of the script.",
    )
