"""GraphPNAS: graphs per second in training and sampling, and their share of the matmul peak.

    python benchmarks/graphpnas.py

One thread, the paper's sizes (hidden 128, S 7, K 10). Training: log_prob, backward pass, gradient
clipping and Adam on Erdős-Rényi graphs (7 nodes, p .4; 32 nodes, p .25). Sampling: from a new
generator, whose edges have a probability of about one half. Times are CPU seconds of the thread, so
that other work on the machine counts less; operations are those of matrix products, counted by
PyTorch; the peak is the fastest product of square matrices in the same run. Writes
docs/results/graphpnas-speed.json and .md.
"""

import time

import torch
from common import publish, show, timed
from torch.utils.flop_counter import FlopCounterMode

from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.layout import Layout
from netwright.results import Row
from netwright.rng import stream

SECONDS = 20  # per measurement

CELL = Layout.make(7, 5, allowed_ops=[[0], *[[1, 2, 3, 4]] * 5, [4]], end_op=4)
WIRES = Layout.make(32, 1)
#: benchmark, layout, edge probability of the graphs trained on, and what the first
#: implementation of this project, made to see what is possible, reached on one thread.
CASES = [
    ("nasbench101", CELL, 0.4, {"training": 113.0, "sampling": 682.0}),
    ("randwire 32 nodes", WIRES, 0.25, {"training": 8.0, "sampling": 19.6}),
]
BATCH = {"training": 2, "sampling": 100}


def repeat(work):
    """CPU seconds of each repetition."""
    work()
    seconds, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end or len(seconds) < 5:
        seconds.append(timed(time.thread_time, work)[1])
    return seconds


def peak():
    """Operations per second of the fastest matrix product."""
    best = 0.0
    for size in (256, 512, 1024):
        a, b = torch.randn(size, size), torch.randn(size, size)
        for _ in range(20):
            best = max(best, 2 * size**3 / timed(time.thread_time, torch.matmul, a, b)[1])
    return best


def works(layout, p):
    """What is timed: a training step and a batch of samples."""
    generator = GraphPNAS(layout, rng=stream(0, "generator"))
    archs = RandomGraph(layout, p=p).sample(BATCH["training"], rng=stream(0, "graphs"))
    adam = torch.optim.Adam(generator.parameters(), lr=1e-3, fused=True)

    def train():
        adam.zero_grad()
        (-generator.log_prob(archs).mean()).backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        adam.step()

    rng = stream(0, "samples")
    return {"training": train, "sampling": lambda: generator.sample(BATCH["sampling"], rng=rng)}


def measure():
    """Yield the rows of the results."""
    for benchmark, layout, p, reference in CASES:
        for what, work in works(layout, p).items():
            batch = BATCH[what]
            with FlopCounterMode(display=False) as counter:
                work()
            operations = counter.get_total_flops() / batch
            top = peak()
            rates = [batch / seconds for seconds in repeat(work)]
            top = max(top, peak())

            def row(metric, values, compared=None, benchmark=benchmark, batch=batch):
                labels = {"method": "GraphPNAS", "preset": "paper", "budget": batch}
                return Row.of(benchmark, metric, values, reference=compared, **labels)

            yield row(f"{what}, graphs per second", rates, reference[what])
            yield row(f"{what}, graphs per second, fastest", [max(rates)], reference[what])
            yield row(f"{what}, matrix-product Gflop per graph", [operations / 1e9])
            yield row(
                f"{what}, percent of the peak, fastest", [100 * max(rates) * operations / top]
            )
            yield row(f"{what}, peak of matrix products in Gflop per second", [top / 1e9])


if __name__ == "__main__":
    torch.set_num_threads(1)
    publish(
        "graphpnas-speed",
        show(measure()),
        title="GraphPNAS: speed",
        seeds=[0],
        note="Budget: graphs per batch; n: repetitions; reference: the first implementation of "
        "this project, one thread. How each is measured stands at the top of the script.",
    )
