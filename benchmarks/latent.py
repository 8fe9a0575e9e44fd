"""Generators with a latent space: graphs per second in training, encoding and decoding.

    python benchmarks/latent.py
    python benchmarks/latent.py cuda    # on a GPU

Graphs are random ones of the space (of NAS-Bench-101: random ones of its table, which has every
cell once), layouts are the published protocol's: everything free but the first and the last node.
On one thread and on all. Training is a step of Adam as `Fit` takes it: loss, backward pass,
clipping where the method clips, update. Encoding takes 1,000 graphs at a time, decoding 128 points.
Operations are those of matrix products, counted by PyTorch; their share of the peak of large square
products is measured in the same run. Where it is known how many operations a method needs at least
(SVGe on NAS-Bench-101: 217.8 Mflop a graph in training, 9.8 to encode, 62.9 to decode in both
directions), the share is of those. Writes docs/results/latent-speed.json and
.md, on a GPU latent-speed-cuda.json and .md.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from common import finished, publish, rates, show
from torch.utils.flop_counter import FlopCounterMode

from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.svge import SVGe
from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201

SECONDS = 5  # per measurement
MANY, FEW = 1000, 128  # graphs encoded, points decoded at a time
DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"
SPACES = {"enas": ENAS, "nasbench101": NASBench101, "nasbench201": NASBench201}


class Case(NamedTuple):
    """A model on a space, its batch, and how fast the released code trains there.

    The references are those of the released code on a machine of this kind (2 cores, torch 2.13).
    """

    method: str
    make: Callable
    space: str
    batch: int
    clip: float | None = None
    reference: float | None = None
    encoding: float | None = None  # reference
    decoding: float | None = None  # reference
    needed: tuple[float, float, float] | None = None  # Mflop to train, encode, decode a graph


CASES = [
    Case("SVGe", SVGe, "nasbench101", 128, 5.0, 232.0, 6070.0, 309.0, (217.8, 9.8, 62.9)),
    Case("SVGe", SVGe, "enas", 32, clip=5.0, reference=97.0),
    Case("DGMG", dgmg, "nasbench101", 128, clip=5.0),
    Case("D-VAE", DVAE, "enas", 32, reference=34.0),
    Case("D-VAE", DVAE, "nasbench101", 32),
    Case("arch2vec", Arch2Vec, "nasbench101", 32, clip=5.0, reference=2923.0),
    Case("arch2vec", Arch2Vec, "nasbench101", 256, clip=5.0),
    Case("arch2vec", Arch2Vec, "nasbench201", 32, clip=5.0),
]


def trainer(model, archs, batch, clip):
    """A function that takes one step of training."""
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    rng, step = stream(0, "loss"), 0

    def train():
        nonlocal step
        first = step * batch % (len(archs) - batch + 1)
        step += 1
        optimizer.zero_grad()
        model.loss(archs[first : first + batch], rng=rng).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    return train


def full(layout):
    """The layout less the ends in between: what is decoded has as many nodes as there may be.

    An untrained generator would end most graphs early, and decode them faster than a trained one.
    """
    allowed = layout.allowed_ops.clone()
    allowed[1:-1] &= ~(layout.allowed_ops[0] | layout.allowed_ops[-1])
    return replace(layout, allowed_ops=allowed)


def graphs(space):
    """Random graphs of a space."""
    if isinstance(space, NASBench101):
        every = space.enumerate()
        return every[torch.randperm(len(every), generator=stream(0, "graphs"))[:MANY]]
    return space.sample(MANY, rng=stream(0, "graphs"))


def peak():
    """Operations per second of the fastest of several large products."""
    a, best = torch.randn(2048, 2048, device=DEVICE), float("inf")
    for _ in range(10):
        finished(DEVICE)
        start = time.perf_counter()
        torch.mm(a, a)
        finished(DEVICE)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def speed(what, work, graphs, *, reference=None, needed=None, **labels):
    """The rows of one kind of work."""
    with FlopCounterMode(display=False) as counter:
        work()
    operations = counter.get_total_flops() / graphs if needed is None else 1e6 * needed
    top = peak()
    found = rates(work, graphs, seconds=SECONDS, device=DEVICE, at_least=0.1)
    share = 100 * operations * sum(found) / len(found) / max(top, peak())
    for metric, values, compared in (
        ("graphs per second", found, reference),
        ("matrix-product Mflop per graph", [operations / 1e6], None),
        ("percent of the peak of square products", [share], None),
    ):
        yield Row.of(metric=f"{what}, {metric}", values=values, reference=compared, **labels)


def measure():
    """Yield the rows of the results."""
    cores = torch.get_num_threads()
    for threads in dict.fromkeys((1, cores)) if DEVICE == "cpu" else [1]:
        torch.set_num_threads(threads)
        where = DEVICE if DEVICE != "cpu" else f"{threads} thread{'s'[: threads > 1]}"
        for case in CASES:
            space = SPACES[case.space]()
            layout = space.layout.freed(keep_ends=True)
            model = case.make(layout, rng=stream(0, "generator")).to(DEVICE)
            decoder = case.make(full(layout), rng=stream(0, "generator")).to(DEVICE)
            archs = graphs(space).to(DEVICE)
            latent = torch.randn(FEW, model.latent_size, generator=stream(0, "z")).to(DEVICE)
            rng = stream(0, "decode")
            labels = {"benchmark": case.space, "method": f"{case.method}, {where}"}

            def encode(model=model, archs=archs):
                with torch.no_grad():
                    model.encode(archs)

            def decode(decoder=decoder, latent=latent, rng=rng):
                decoder.decode(latent, rng=rng)

            train = trainer(model, archs, case.batch, case.clip)
            what = f"training, batch {case.batch}"
            needs = case.needed or (None, None, None)
            yield from speed(
                what, train, case.batch, reference=case.reference, needed=needs[0], **labels
            )
            yield from speed(
                "encoding", encode, MANY, reference=case.encoding, needed=needs[1], **labels
            )
            yield from speed(
                "decoding", decode, FEW, reference=case.decoding, needed=needs[2], **labels
            )
    torch.set_num_threads(cores)


if __name__ == "__main__":
    publish(
        "latent-speed" if DEVICE == "cpu" else f"latent-speed-{DEVICE}",
        show(measure()),
        title="Generators with a latent space: speed",
        seeds=[0],
        note="n: repetitions; reference: the papers' released code on a machine of this kind with "
        "2 cores. How each is measured stands at the top of the script.",
    )
