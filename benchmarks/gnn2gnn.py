"""GNN2GNN and its peers: graphs per second in three-way training and in generation.

    python benchmarks/gnn2gnn.py
    python benchmarks/gnn2gnn.py cuda    # on a GPU

A step of training draws 32 graphs of the data and generates as many, and updates discriminator,
valuer and generator, as `AdversarialFit` does it, on all three networks' losses; ten replicas side
by side count 320 graphs. Graphs of NAS-Bench-101. Operations are those of matrix products, counted
by PyTorch; their share of the peak of large square products is measured in the same run. The
references are those of the released code on a machine of this kind (2 cores). Writes
docs/results/gnn2gnn-speed.json and .md, on a GPU gnn2gnn-speed-cuda.json and .md.
"""

import sys
from functools import partial

import torch
from common import publish, rates, show
from latent import peak
from torch.utils.flop_counter import FlopCounterMode

from netwright.generators.adversarial import AdversarialFit, AdversarialRecipe, Trainee
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.labelled import Labelled
from netwright.generators.molgan import MolGAN
from netwright.generators.rnn_gan import RNNGAN
from netwright.generators.three_way import ThreeWayOptions
from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

SECONDS = 3  # per measurement
CELLS, DRAWN, BATCH = 10_000, 2000, 32
DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"
BEST = {"edge_bound": 2.0, "op_bound": 3.0}
PAPER = ThreeWayOptions()
OURS = ThreeWayOptions(gan_loss="non-saturating", entropy=0.02)
CASES = [  # method, constructor, options of a step, replicas, references
    ("GNN2GNN, paper", GNN2GNN, PAPER, 1, 231.0, 705.0),
    ("GNN2GNN, best", partial(GNN2GNN, **BEST), OURS, 1, 231.0, 705.0),
    ("GNN2GNN, best", partial(GNN2GNN, **BEST), OURS, 10, 231.0, None),
    ("MolGAN-like", MolGAN, PAPER, 1, None, None),
    ("recurrent", RNNGAN, PAPER, 1, None, None),
]


def trainer(make, options, replicas, data):
    """A function that takes one step of training, and the fit it is a step of."""
    recipe = AdversarialRecipe(10**9, batch_size=BATCH, warmup=0.0, three_way=options)
    layout = NASBench101().layout
    trainees = [
        Trainee(make(layout, rng=stream(seed, "generator")).to(DEVICE), data, seed)
        for seed in range(replicas)
    ]
    fit = AdversarialFit(trainees, recipe)
    steps = fit.run()
    return lambda: next(steps)


def speed(what, work, graphs, *, reference, **labels):
    """The rows of one kind of work."""
    with FlopCounterMode(display=False) as counter:
        work()
    operations = counter.get_total_flops() / graphs
    top = peak()
    found = rates(work, graphs, seconds=SECONDS, device=DEVICE, at_least=0.1)
    share = 100 * operations * sum(found) / len(found) / max(top, peak())
    for metric, values, compared in (
        ("graphs per second", found, reference),
        ("matrix-product Mflop per graph", [operations / 1e6], None),
        ("percent of the peak of square products", [share], None),
    ):
        yield Row.of("nasbench101", f"{what}, {metric}", values, reference=compared, **labels)


def measure():
    """Yield the rows of the results."""
    space = NASBench101()
    archs = space.sample(CELLS, rng=stream(0, "cells"))
    data = Labelled(archs, torch.rand(CELLS, generator=stream(0, "scores")))
    cores = torch.get_num_threads()
    for threads in dict.fromkeys((1, cores)) if DEVICE == "cpu" else [1]:
        torch.set_num_threads(threads)
        where = DEVICE if DEVICE != "cpu" else f"{threads} thread{'s'[: threads > 1]}"
        for method, make, options, replicas, training, generation in CASES:
            side = f", {replicas} side by side" if replicas > 1 else ""
            labels = {"method": f"{method}{side}, {where}"}
            step = trainer(make, options, replicas, data)
            what = f"training, batch {BATCH}"
            yield from speed(what, step, BATCH * replicas, reference=training, **labels)
            if replicas > 1:
                continue
            generator, rng = make(space.layout, rng=stream(0, "generator")), stream(0, "draws")
            draw = partial(generator.to(DEVICE).sample, DRAWN, rng=rng)
            yield from speed("generation", draw, DRAWN, reference=generation, **labels)
    torch.set_num_threads(cores)


if __name__ == "__main__":
    publish(
        "gnn2gnn-speed" if DEVICE == "cpu" else f"gnn2gnn-speed-{DEVICE}",
        show(measure()),
        title="GNN2GNN: speed",
        seeds=[0],
        note="n: repetitions; reference: the released code on a machine of this kind with 2 cores. "
        "How each is measured stands at the top of the script.",
    )
