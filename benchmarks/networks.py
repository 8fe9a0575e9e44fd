"""Networks: parameter counts against the tables' own, and what building and training them costs.

    python benchmarks/networks.py

Builds the network of every NAS-Bench-201 cell and of 5,000 NAS-Bench-101 cells of all sizes, and
compares its trainable parameters with those the benchmark publishes; the other NAS-Bench-101 cells
are compared through a formula that agrees with the networks built. Writes
docs/results/parameters.json and .md. Needs the tables of `$NETWRIGHT_DATA` (or ../shared/data).
"""

import csv
import gc
import gzip
import statistics
import time
from collections import defaultdict

import numpy as np
import torch
from common import DATA, publish, require, show, timed

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.cost import count_parameters
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.nasbench201 import nasbench201_network
from netwright.results import Row
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201


def read_nasbench201():
    """All cells and their published parameter counts."""
    with gzip.open(DATA / "nasbench201.csv.gz", "rt") as file:
        rows = [(row["arch"], int(row["trainable_parameters"])) for row in csv.DictReader(file)]
    texts, counts = zip(*rows, strict=True)
    return NASBench201().from_text(texts), torch.tensor(counts)


def read_nasbench101(per_size=None):
    """All cells by size, in the official node order, and their published parameter counts.

    With ``per_size``, only the first that many cells of each size.
    """
    rows = defaultdict(list)
    with gzip.open(DATA / "nasbench101.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            size = row["operations"].count(",") + 1
            if per_size is None or len(rows[size]) < per_size:
                rows[size].append(row)
    index, parts, counts = {name: i for i, name in enumerate(NASBench101.op_names)}, [], []
    for size, members in sorted(rows.items()):
        bits = "".join(row["adjacency"] for row in members).encode()
        adj = np.frombuffer(bits, np.uint8).reshape(-1, size, size) == ord("1")
        ops = [[index[name] for name in row["operations"].split(",")] for row in members]
        sizes = torch.full((len(members),), size)
        parts.append(ArchitectureBatch(torch.tensor(ops), torch.from_numpy(adj), sizes))
        counts += [int(row["trainable_parameters"]) for row in members]
    return ArchitectureBatch.cat(parts), torch.tensor(counts)


def of_all_sizes(archs, n):
    """Positions of ``n`` cells: all of up to five nodes that fit, the rest evenly from larger."""
    chosen, left = [], n
    sizes = sorted(set(archs.num_nodes.tolist()))
    for rank, size in enumerate(sizes):
        members = (archs.num_nodes == size).nonzero()[:, 0]
        share = min(len(members), left // (len(sizes) - rank) if size > 5 else left // 2)
        chosen.append(members[torch.linspace(0, len(members) - 1, share).long()])
        left -= share
    return torch.cat(chosen)


def built_parameters(build, archs):
    """Build each network at full size, without memory, and count its trainable parameters."""
    gc.collect()
    gc.freeze()  # or the collector walks through the whole table again and again
    try:
        with torch.device("meta"):
            counts = [
                count_parameters(build(archs[i : i + 1], in_channels=3, num_classes=10))
                for i in range(len(archs))
            ]
    finally:
        gc.unfreeze()
    return torch.tensor(counts)


def nasbench101_parameters(archs: ArchitectureBatch) -> torch.Tensor:
    """Parameters of the official networks by formula, for a whole batch."""
    nodes, batch = archs.max_nodes, torch.arange(len(archs))
    last = archs.num_nodes - 1
    into_output = archs.adj[batch, :, last]
    to_output = into_output[:, 0].clone()
    into_output[:, 0] = False
    fan_in = into_output.sum(dim=1, keepdim=True).clamp(min=1)
    rank = into_output.cumsum(dim=1) - 1
    interior = archs.node_mask & (torch.arange(nodes) > 0) & (torch.arange(nodes) < last[:, None])
    kernel = torch.tensor([0, 1, 9, 0, 0])[archs.ops]  # weights per pair of channels
    normalised = (kernel > 0).long()

    total = torch.full((len(archs),), 27 * 128 + 2 * 128 + 512 * 10 + 10)  # stem and classifier
    width = 128
    for channels in (128, 256, 512):
        share = channels // fan_in + (rank < channels % fan_in)
        size = torch.where(into_output, share, 0)
        for node in range(nodes - 2, 0, -1):
            successors = (archs.adj[:, node] & interior) * size
            size[:, node] = torch.where(
                into_output[:, node], size[:, node], successors.max(dim=1).values
            )
        size = size * interior
        operations = (kernel * size**2 + 2 * normalised * size).sum(dim=1)
        projected = (archs.adj[:, 0] * size).sum(dim=1) + to_output * channels
        for _ in range(3):
            total += operations + (width + 2) * projected
            width = channels
    return total


def step_seconds(build, space, *, steps=20):
    """CPU seconds of a training step (64 images of 8x8) of each of ten random small networks."""
    archs = space.sample(10, rng=torch.Generator().manual_seed(0))
    images, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 10
    medians = []
    for i in range(len(archs)):
        network = build(archs[i : i + 1], in_channels=1, num_classes=10, preset="small")
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        seconds = []
        for _ in range(steps):
            start = time.process_time()
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimiser.step()
            seconds.append(time.process_time() - start)
        medians.append(statistics.median(seconds))
    return medians


def measure():
    """Yield the rows of the results."""
    matched = "parameter counts matched"
    tables = {
        "nasbench201/cifar10": (read_nasbench201, nasbench201_network, NASBench201()),
        "nasbench101/cifar10": (read_nasbench101, nasbench101_network, NASBench101()),
    }
    for benchmark, (read, build, space) in tables.items():
        formula = {"method": "formula", "preset": "official"}
        built = {"method": build.__name__, "preset": "official"}
        archs, published = read()
        if read is read_nasbench101:
            n, equal = len(archs), int((nasbench101_parameters(archs) == published).sum())
            yield Row(benchmark, matched, equal, n, paper=n, **formula)
            chosen = of_all_sizes(archs, 5000)
            archs, published = archs[chosen], published[chosen]
        n = len(archs)
        counts, seconds = timed(time.process_time, built_parameters, build, archs)
        each = round(1000 * seconds / n, 1)
        yield Row(benchmark, matched, int((counts == published).sum()), n, paper=n, **built)
        if read is read_nasbench101:
            agreed = int((counts == nasbench101_parameters(archs)).sum())
            yield Row(benchmark, "counts equal to built networks", agreed, n, **formula)
        yield Row(benchmark, "CPU milliseconds per network built", each, n, **built)
        yield Row.of(
            "random 8x8 images",
            "CPU milliseconds per training step",
            [1000 * step for step in step_seconds(build, space)],
            method=build.__name__,
            preset="small",
        )


if __name__ == "__main__":
    require("nasbench101.csv.gz", "nasbench201.csv.gz")
    torch.set_num_threads(1)  # CPU time is then the time of an undisturbed machine
    publish(
        "parameters",
        show(measure()),
        title="Parameter counts of built networks",
        seeds=[0],
        note="Counts: how many of n equal the published ones. Times: on one thread, networks built "
        "on the meta device; steps of 64 images for ten random cells.",
    )
