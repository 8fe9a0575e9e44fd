"""Bayesian optimisation in a latent space: seconds of a round, part by part.

    python benchmarks/bayes.py          # an untrained SVGe of the paper's size, on NAS-Bench-101
    python benchmarks/bayes.py FIT      # the generator of a fit

The paper's round: 1,500 points known, of which 500 are inducing points, 10,000 candidates in the
box, a batch of 50, each decoded 500 times; with and without 150 iterations of L-BFGS from the best
candidates. The small round: 100 points known, candidates decoded around the best, a batch of 5.
Scores are the share of convolutions, with noise. "fit" is the Gaussian process, "choose" the batch
by expected improvement, "decode" and "encode" the generator, "round" a whole `ask`. On all threads.
An untrained generator draws hardly anything twice, so that its decoding is the slowest there is;
most of its points stand for graphs that are known already. `ask` would try again, which is not
timed: a round is one pass.
Writes bayes-speed.json and .md to docs/results.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import torch
from common import publish, show

import netwright.searchers.latent as latent
import netwright.surrogates.acquisition as acquisition
import netwright.surrogates.gp as gp
from netwright.config.fits import FitConfig, load_generator
from netwright.config.methods.latent import SVGE
from netwright.config.objects import make_space
from netwright.generators.svge import SVGe
from netwright.results import Row
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.searchers.latent import LatentOptions, LatentSearch
from netwright.spaces.base import distinct_members
from netwright.spaces.nasbench101 import NASBench101
from netwright.surrogates.options import GPOptions

REPEATS = 3
#: What is timed, and where it is called from.
PARTS: dict[str, tuple[object, str]] = {
    "fit": (gp, "fit_gp"),
    "choose": (acquisition, "choose_batch"),
    "decode": (latent, "draw_counts"),
    "encode": (latent, "encode_means"),
}


class Setting(NamedTuple):
    """A round: what is known before, and what is asked for."""

    known: int
    batch: int
    options: LatentOptions


def settings():
    """The rounds, by name."""
    paper = {
        name: value for name, value in SVGE.items() if name in LatentOptions.__dataclass_fields__
    }
    process = GPOptions(kernel=SVGE["kernel"], inducing=SVGE["inducing"])
    return {
        "paper": Setting(1500, 50, LatentOptions(**paper, gp=process)),
        "paper, L-BFGS": Setting(
            1500, 50, LatentOptions(**paper | {"iterations": 150}, gp=process)
        ),
        "small budget": Setting(100, 5, LatentOptions()),
    }


def clocked(seconds: dict[str, float], name: str, call: Callable):
    """The function, adding up its seconds."""

    def timed(*args, **options):
        start = time.perf_counter()
        value = call(*args, **options)
        seconds[name] += time.perf_counter() - start
        return value

    return timed


def seconds_of_round(space, generator, setting, seed):
    """Seconds of one `ask`, and of its parts."""
    searcher = LatentSearch(space, generator, options=setting.options)
    rng, archs = stream(seed, "round"), space.sample(0, rng=stream(0, "none"))
    while len(archs) < setting.known:
        more = space.sample(2 * setting.known, rng=rng)
        archs = distinct_members(space, type(archs).cat([archs, more]))[: setting.known]
    noise = 0.05 * torch.randn(len(archs), generator=rng)
    searcher.tell(archs, (archs.ops == 2).float().mean(dim=1) + noise, rng=rng)
    seconds: dict[str, float] = defaultdict(float)
    originals = {name: getattr(*place) for name, place in PARTS.items()}
    try:
        for name, (module, attribute) in PARTS.items():
            setattr(module, attribute, clocked(seconds, name, originals[name]))
        asked = clocked(seconds, "round", searcher.ask)(setting.batch, rng=rng)
    finally:
        for name, (module, attribute) in PARTS.items():
            setattr(module, attribute, originals[name])
    if len(asked) != setting.batch or not seconds.keys() >= PARTS.keys():
        raise RuntimeError(f"{len(asked)} proposals of {setting.batch}, timed: {list(seconds)}")
    return seconds


def measure(space, generator, method):
    """Yield the rows of the results."""
    for preset, setting in settings().items():
        found = [seconds_of_round(space, generator, setting, seed) for seed in range(-1, REPEATS)][
            1:
        ]  # the first one warms up
        for part in ("round", *PARTS):
            yield Row.of(
                benchmark=space.name,
                method=method,
                preset=preset,
                metric=f"seconds, {part}",
                budget=setting.known,
                values=[seconds[part] for seconds in found],
            )


def given():
    """The space, the generator and its name."""
    if len(sys.argv) == 1:
        space = NASBench101()
        layout = space.layout.freed(keep_ends=True)
        return space, SVGe(layout, rng=stream(0, "init")).eval(), "SVGe, untrained"
    run = FitRun.open(sys.argv[1])
    config = FitConfig.parse(run.config)
    return make_space(config.space), load_generator(run), f"{config.method.name}, fitted"


if __name__ == "__main__":
    latent._PASSES = 1
    publish(
        "bayes-speed",
        show(measure(*given())),
        title="Bayesian optimisation in a latent space: speed",
        seeds=list(range(REPEATS)),
        note="n: rounds. How each is measured stands at the top of the script.",
    )
