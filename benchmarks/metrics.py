"""Metrics: what measuring a generator costs, and how many cells can be stored in several ways.

    python benchmarks/metrics.py

Measures 10,000 generated graphs against 90 % of NAS-Bench-101, on one thread, in the published
form (equality as stored) and up to isomorphism, and makes every reordering of the 7-node cells
([SVGe] III-D). Writes docs/results/metrics.json and .md.
"""

import time
from functools import partial

import torch
from common import publish, show, timed

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.ordering import reorderings
from netwright.metrics import edit_distance, novelty, reconstruction_accuracy, uniqueness
from netwright.reproductions.validity import published_validity
from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.base import uniform_graphs
from netwright.spaces.nasbench101 import NASBench101

REPETITIONS = 5
DECODES = 10_000
AIM = 1.0  # seconds for uniqueness and novelty, keys of the decoded graphs included
PAPER_PAIRS = 11_606  # isomorphic pairs of 7-node cells, [SVGe] III-D

KEYS = {"as stored": hashing.labelled_keys, "up to isomorphism": hashing.keys}

cpu = partial(timed, time.process_time)


def generated(space, cells):
    """Half are cells in some topological order, half have random operations and edges."""
    rng = stream(0, "decodes")
    picked = cells[torch.randint(len(cells), (DECODES // 2,), generator=rng)]
    moved = dag.reorder(picked, dag.random_order(picked, rng=rng))
    wild = uniform_graphs(space.layout.freed(keep_ends=True), DECODES // 2, rng=rng)
    return ArchitectureBatch.cat([moved, wild])


def unique_and_novel(keys, decoded, valid, known):
    """Both measures, from graphs."""
    key = keys(decoded)
    return uniqueness(key, valid), novelty(key, valid, known)


def from_texts(space, decoded, valid, training):
    """Both measures from sets of texts, one for each graph as stored."""
    known = set(space.to_text(training))
    texts = space.to_text(decoded[valid])
    return len(set(texts)) / len(texts), sum(text not in known for text in texts) / len(texts)


def prepared(keys, training):
    """The training graphs' keys as `novelty` wants them."""
    return hashing.distinct(keys(training))


def repeated(call, *args, **options):
    """CPU seconds of each repetition, and the last result."""
    results = [cpu(call, *args, **options) for _ in range(REPETITIONS)]
    return [seconds for _, seconds in results], results[-1][0]


def measure():
    """Yield the rows of the results."""
    space = NASBench101()
    cells = space.enumerate()
    shuffled = torch.randperm(len(cells), generator=stream(0, "split"))
    training = cells[shuffled[: len(cells) * 9 // 10]]
    decoded = generated(space, cells)

    row = partial(Row.of, "nasbench101", budget=DECODES)
    seconds, valid = repeated(published_validity, space, decoded)
    yield row("CPU seconds", seconds, method="validity, published rules")
    found = {}
    for form, keys in KEYS.items():
        seconds, known = repeated(prepared, keys, training)
        method = f"keys of the training graphs, once, {form}"
        yield Row.of("nasbench101", "CPU seconds", seconds, method=method, budget=len(training))
        seconds, _ = repeated(keys, decoded)
        yield row("CPU seconds", seconds, method=f"keys, {form}")
        seconds, found[form] = repeated(unique_and_novel, keys, decoded, valid, known)
        method = f"uniqueness and novelty, keys included, {form}"
        yield row("CPU seconds", seconds, method=method, reference=AIM)
        originals = cells[shuffled[: DECODES // 10]]
        seconds, _ = repeated(reconstruction_accuracy, originals, decoded, keys=keys)
        yield row("CPU seconds", seconds, method=f"reconstruction accuracy, {form}")
    literal, spent = cpu(from_texts, space, decoded, valid, training)
    if literal != found["as stored"]:
        raise SystemExit(f"keys give {found['as stored']}, texts {literal}")
    method = "uniqueness and novelty from sets of texts, training graphs included"
    yield row("CPU seconds", [spent], method=method)
    seconds, _ = repeated(edit_distance, decoded, decoded[torch.arange(DECODES).flip(0)])
    yield row("CPU seconds", seconds, method="edit distance")

    seven = cells[cells.num_nodes == 7]
    (copies, origin), spent = cpu(reorderings, seven)
    labels = {"method": "reorderings", "budget": len(seven)}
    if not torch.equal(hashing.keys(copies), hashing.keys(seven)[origin]):
        raise SystemExit("a reordering is not isomorphic to its cell")
    yield Row.of("nasbench101", "CPU seconds", [spent], **labels)
    several = len(origin.unique())
    yield Row("nasbench101", "7-node cells with another stored form", several, 1, **labels)
    pairs = "isomorphic pairs of a cell and another stored form"
    yield Row("nasbench101", pairs, len(copies), 1, paper=PAPER_PAIRS, **labels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    publish(
        "metrics",
        show(measure()),
        title="Metrics of generators: what they cost",
        seeds=[0],
        note="Budget: graphs measured, or prepared once; n: repetitions. Reference: the aim. The "
        "paper's pairs are those of its experiment, the row's are all there are.",
    )
