"""Networks have exactly as many parameters as the benchmarks say."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.nasbench201 import nasbench201_network

ROOT = Path(__file__).resolve().parents[2]


def _load():
    path = ROOT / "benchmarks" / "networks.py"
    sys.path.append(str(path.parent))  # of what the benchmarks have in common
    spec = importlib.util.spec_from_file_location("benchmark_of_networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark = _load()
needs_tables = pytest.mark.skipif(
    not (benchmark.DATA / "nasbench101.csv.gz").exists(), reason="no benchmark data"
)
PARTS = 5  # so that no test takes long, and workers share them
#: The first part, and as slow tests the others.
FIRST_QUICK = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))]


@pytest.fixture(scope="module")
def nasbench201():
    return benchmark.read_nasbench201()


@pytest.fixture(scope="module")
def some_of_nasbench101():
    return benchmark.read_nasbench101(per_size=40)


@pytest.fixture(scope="module")
def nasbench101():
    return benchmark.read_nasbench101()


def assert_counts_match(build, archs, published):
    assert torch.equal(benchmark.built_parameters(build, archs), published)


@needs_tables
@pytest.mark.parametrize("part", FIRST_QUICK)
def test_300_nasbench201_networks(nasbench201, part):
    archs, published = nasbench201
    assert len(archs) == 15_625
    chosen = slice(part * 52, None, 52 * PARTS)
    assert len(archs[chosen]) >= 60
    assert_counts_match(nasbench201_network, archs[chosen], published[chosen])


@needs_tables
@pytest.mark.parametrize("part", FIRST_QUICK)
def test_167_nasbench101_networks_of_all_sizes(some_of_nasbench101, part):
    archs, published = some_of_nasbench101
    assert archs.num_nodes.bincount().tolist() == [0, 0, 1, 6, 40, 40, 40, 40]
    chosen = slice(part, None, PARTS)
    assert_counts_match(nasbench101_network, archs[chosen], published[chosen])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_tables
@pytest.mark.parametrize("part", range(PARTS))
def test_every_nasbench201_network(nasbench201, part):
    archs, published = nasbench201
    chosen = slice(part, None, PARTS)
    assert_counts_match(nasbench201_network, archs[chosen], published[chosen])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_tables
@pytest.mark.parametrize("part", range(PARTS))
def test_5000_nasbench101_networks_of_all_sizes(nasbench101, part):
    archs, published = nasbench101
    chosen = benchmark.of_all_sizes(archs, 5000)
    assert archs.num_nodes[chosen].bincount().tolist() == [0, 0, 1, 6, 84, 2441, 1234, 1234]
    chosen = chosen[part::PARTS]
    assert_counts_match(nasbench101_network, archs[chosen], published[chosen])


@pytest.mark.slow
@needs_tables
def test_formula_for_all_nasbench101_networks(nasbench101):
    """The formula is not part of the library; it extends the check on built networks to all."""
    archs, published = nasbench101
    assert len(archs) == 423_624
    assert torch.equal(benchmark.nasbench101_parameters(archs), published)


def test_formula_agrees_with_built_networks():
    space = benchmark.NASBench101()
    archs = space.sample(40, rng=torch.Generator().manual_seed(0))
    built = benchmark.built_parameters(nasbench101_network, archs)
    assert torch.equal(benchmark.nasbench101_parameters(archs), built)
