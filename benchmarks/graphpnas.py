"""GraphPNAS: graphs per second in training and sampling, and their share of the matmul peak.

    python benchmarks/graphpnas.py
    python benchmarks/graphpnas.py cuda    # on a GPU, 64 seeds stacked

The paper's sizes (hidden 128, S 7, K 10) unless the row says otherwise, on one thread and on all.
Training is `fit`: log_prob, backward pass, gradient clipping and Adam on Erdős-Rényi graphs (7
nodes, p .4; 32 nodes, p .25), for one generator and for ten seeds stacked (graphs of all of them
summed). Sampling is from a new generator, whose edges have a probability of about one half. Memory
is the peak of a process that does nothing else, PyTorch included. Operations are those of matrix
products, counted by PyTorch; the peak is that of products of the shapes involved, (graphs x rows x
hidden) times (hidden x 5 hidden), measured in the same run, and of large square ones. Writes
docs/results/graphpnas-speed.json and .md, on a GPU graphpnas-speed-cuda.json and .md.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from common import DATA, finished, publish, rates, show
from torch.utils.flop_counter import FlopCounterMode

from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.layout import Layout
from netwright.results import Row
from netwright.rng import stream
from netwright.searchers.policy_gradient import FitOptions, Learner, Lesson, fit

SECONDS = 10  # per measurement
DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"
SEEDS = 10 if DEVICE == "cpu" else 64
CELL = Layout.make(7, 5, allowed_ops=[[0], *[[1, 2, 3, 4]] * 5, [4]], end_op=4)
WIRES = Layout.make(32, 1)
KEPT = 16  # graphs in the replay buffer

#: What, benchmark, layout, edge probability, seeds, batch, hidden, and what the released code
#: reaches on a machine of this kind (2 cores, torch 2.13).
TRAINING = [
    ("training, batch 2", "nasbench101", CELL, 0.4, 1, 2, 128, 65.0),
    (f"training, batch 2, {SEEDS} seeds", "nasbench101", CELL, 0.4, SEEDS, 2, 128, 65.0),
    (f"training, batch 2, {SEEDS} seeds, hidden 24", "nasbench101", CELL, 0.4, SEEDS, 2, 24, 80.0),
    ("training, batch 16", "randwire 32 nodes", WIRES, 0.25, 1, 16, 128, 5.8),
]
SAMPLING = [
    ("sampling, batch 100", "nasbench101", CELL, 421.0),
    ("sampling, batch 100", "randwire 32 nodes", WIRES, 5.1),
]


def lessons(layout, p, seeds, hidden):
    """Generators of several seeds with graphs to learn from."""
    made = []
    for seed in range(seeds):
        archs = RandomGraph(layout, p=p).sample(KEPT, rng=stream(seed, "graphs"))
        generator = GraphPNAS(layout, hidden=hidden, rng=stream(seed, "generator")).to(DEVICE)
        score = torch.rand(KEPT, generator=stream(seed, "score"))
        made.append(Lesson(Learner(generator), archs, score, stream(seed, "fit")))
    return made


def gflops(a, b):
    """Operations per second of the fastest of many products, in 1e9."""
    operations, best = 2 * a.numel() * b.shape[-1], float("inf")
    for _ in range(50):
        finished(DEVICE)
        start = time.perf_counter()
        torch.matmul(a, b)
        finished(DEVICE)
        best = min(best, time.perf_counter() - start)
    return operations / best / 1e9


def speed(what, benchmark, work, graphs, shapes, reference, hidden):
    """The rows of one kind of work."""
    with FlopCounterMode(display=False) as counter:
        work()
    operations = counter.get_total_flops() / graphs / 1e9
    threads = torch.get_num_threads()
    where = DEVICE if DEVICE != "cpu" else f"{threads} thread{'s'[: threads > 1]}"
    preset = "paper" if hidden == 128 else f"hidden {hidden}"
    labels = {"method": f"GraphPNAS, {where}", "preset": preset}
    a, b = (torch.randn(shape, device=DEVICE) for shape in shapes)
    square = torch.randn(2048, 2048, device=DEVICE)
    involved, top = gflops(a, b), gflops(square, square)
    found = rates(work, graphs, seconds=SECONDS, device=DEVICE)
    involved, top = max(involved, gflops(a, b)), max(top, gflops(square, square))
    mean = sum(found) / len(found) * operations

    def row(metric, values, compared=None):
        return Row.of(benchmark, f"{what}, {metric}", values, reference=compared, **labels)

    yield row("graphs per second", found, reference)
    yield row("matrix-product Gflop per graph", [operations])
    yield row("percent of the peak at these shapes", [100 * mean / involved])
    yield row("percent of the peak of square products", [100 * mean / top])


def memory(layout, p, batch, hidden):
    """Peak memory of one update, in MB, as a process of its own sees it."""
    fit(lessons(layout, p, 1, hidden), FitOptions(epochs=2, batch_size=batch))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure():
    """Yield the rows of the results."""
    cores = torch.get_num_threads()
    for threads in dict.fromkeys((1, cores)) if DEVICE == "cpu" else [1]:
        torch.set_num_threads(threads)
        for what, benchmark, layout, p, seeds, batch, hidden, reference in TRAINING:
            some, options = lessons(layout, p, seeds, hidden), FitOptions(epochs=1)
            options = replace(options, batch_size=batch)
            rows = batch * layout.max_nodes * (layout.max_nodes + 1) // 2
            shapes = ((seeds, rows, hidden), (seeds, hidden, 5 * hidden))

            def train(some=some, options=options):
                fit(some, options)

            yield from speed(what, benchmark, train, seeds * KEPT, shapes, reference, hidden)
        for what, benchmark, layout, reference in SAMPLING:
            generator = GraphPNAS(layout, rng=stream(0, "generator")).to(DEVICE)
            rng = stream(0, "samples")
            shapes = ((1, 1024, 128), (1, 128, 640))

            def sample(generator=generator, rng=rng):
                generator.sample(100, rng=rng)

            yield from speed(what, benchmark, sample, 100, shapes, reference, 128)
    torch.set_num_threads(cores)
    if DEVICE != "cpu":
        return
    what, benchmark, layout, p, _, batch, hidden, _ = TRAINING[-1]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        used = pool.apply(memory, (layout, p, batch, hidden))
    yield Row.of(
        benchmark, f"{what}, peak memory in MB", [used],
        method="GraphPNAS", preset="paper", reference=2200.0,
    )  # fmt: skip
    yield from experiment()


def experiment():
    """Ten searches of NAS-Bench-201 with 100 evaluations at the released sizes, from the shell."""
    from netwright.reproductions.execute import carry_out
    from netwright.reproductions.experiment import Experiment
    from netwright.spaces.nasbench201 import NASBench201
    from netwright.tables.csv import import_csv
    from netwright.tables.format import Table

    source = DATA / "nasbench201.csv.gz"
    if not source.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        space, place = NASBench201(), Path(folder)
        rows = import_csv(source, space, source=source.name, licence="not stated")
        Table.write(place / "nasbench201.safetensors", space, rows)
        for label, update_every, capacity in (("every 10", 10, 15), ("every 5", 5, 15)):
            method = {"name": "graphpnas", "preset": "released", "capacity": capacity}
            method |= {"update_every": update_every}
            described = {
                "title": "speed",
                "benchmarks": [
                    {
                        "name": "nasbench201/cifar100", "space": "nasbench201",
                        "table": "nasbench201.safetensors", "metric": "cifar100/valid@200",
                        "report": {"valid accuracy": "cifar100/valid@200"}, "budgets": [100],
                    }
                ],
                "methods": [
                    {"name": "GraphPNAS", "preset": "released", "method": method,
                     "batch_size": update_every}
                ],
                "seeds": 10,
            }  # fmt: skip
            start = time.perf_counter()
            for _ in carry_out(Experiment.parse(described), place / label, tables=place):
                pass
            yield Row.of(
                "nasbench201/cifar100",
                f"experiment, 10 seeds, update {label}, seconds",
                [time.perf_counter() - start],
                method="GraphPNAS",
                preset="released",
                budget=100,
            )


if __name__ == "__main__":
    publish(
        "graphpnas-speed" if DEVICE == "cpu" else f"graphpnas-speed-{DEVICE}",
        show(measure()),
        title="GraphPNAS: speed",
        seeds=range(SEEDS),
        note="n: repetitions; reference: the paper's released code on a machine of "
        "this kind with 2 cores. How each is measured stands at the top of the script.",
    )
