from itertools import pairwise

import pytest
import torch
from small_fit import fitted, write_table

from netwright.generators.latent import encode_means
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.candidates import (
    PAPERS_BEST,
    SIGNAL,
    SPACE,
    Effort,
    Ranking,
    best_cells,
    decoded_graphs,
    distinct_candidates,
    made_from,
    parents_of,
    random_graphs,
    rank,
    strata,
)
from netwright.rng import stream

EFFORT = Effort(random=80, decoded=60, labels=60, held_out=60)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, table):
    return fitted(tmp_path_factory.mktemp("fits") / "fit", table)


@pytest.fixture(scope="module")
def ranking(run, table):
    return rank(run, table, EFFORT, seed=0)


def test_the_best_cells_have_the_highest_signal(table):
    signal = table.column(SIGNAL)
    archs = table.archs(torch.arange(len(table)))
    best = best_cells(table, 3)
    assert torch.equal(signal[table.lookup(SPACE.keys(best))], signal.sort(descending=True)[0][:3])
    seven = best_cells(table, 1, nodes=7)
    assert int(seven.num_nodes[0]) == 7
    top = signal[table.lookup(SPACE.keys(seven))]
    assert float(top) == float(signal[archs.num_nodes == 7].max())
    assert SPACE.to_text(parents_of(table))[1] == PAPERS_BEST


def test_random_graphs_join_pairs_as_released():
    archs = random_graphs(20_000, rng=stream(0, "random"))
    density = archs.adj.float().mean(dim=0)
    upper = torch.ones(8, 8).triu(diagonal=1).bool()
    expected = 1 - (31 / 32) ** 40
    torch.testing.assert_close(density[upper], torch.full((28,), expected), atol=0.02, rtol=0)
    assert not bool(archs.adj.any(dim=0)[~upper].any())
    assert set(archs.ops[:, 0].tolist()) == {0}
    assert set(archs.ops[:, -1].tolist()) == {4}
    share = archs.ops[:, 1:-1].flatten().bincount(minlength=4) / archs.ops[:, 1:-1].numel()
    torch.testing.assert_close(share, torch.tensor([0, 1, 1, 1]) / 3, atol=0.01, rtol=0)


def test_candidates_are_valid_of_eight_nodes_and_isomorphic_ones_count_once():
    chain = "input," + "conv3x3-bn-relu," * 6 + "output"
    path = torch.zeros(8, 8, dtype=torch.bool)
    path[torch.arange(7), torch.arange(1, 8)] = True
    bits = "".join(str(int(x)) for x in path.flatten())
    fork = path.clone()
    fork[1, 2] = False
    fork[0, 2] = fork[1, 3] = True
    other = fork.clone()  # the same with its two parallel nodes exchanged
    other[[1, 2]] = fork[[2, 1]]
    other[:, [1, 2]] = other[:, [2, 1]].clone()
    loose = path.clone()
    loose[3, 4] = False
    texts = [f"{chain}:{''.join(str(int(x)) for x in adj.flatten())}" for adj in (fork, other)]
    first = SPACE.from_text([f"{chain}:{bits}", texts[0]])
    second = SPACE.from_text([texts[1], f"{chain}:{''.join(str(int(x)) for x in loose.flatten())}"])
    seven = SPACE.from_text([PAPERS_BEST])
    archs, origin = distinct_candidates({"a": first, "b": second, "c": seven})
    assert SPACE.to_text(archs) == [f"{chain}:{bits}", texts[0]]
    assert origin == ("a", "a")


def test_noise_is_measured_in_deviations_of_the_encodings(table):
    class Recorder:
        """A latent space of two coordinates, which notes where it is to decode."""

        layout, latent_size, any_size = SPACE.layout, 2, True

        def loss(self, archs, *, rng):
            raise NotImplementedError  # nobody trains it

        def encode(self, archs):
            return archs.ops[:, :2].float(), archs.ops[:, :2].float()

        def decode(self, latent, *, rng, mode=False):
            del rng, mode
            self.points = latent
            return ArchitectureBatch.empty(8)

    around, known = best_cells(table, 3).pad(8), best_cells(table, 30).pad(8)
    recorder = Recorder()
    options = {"generator": recorder, "around": around, "known": known, "n": 7}
    decoded_graphs(**options, spread=0.0, rng=stream(0, "d"))
    centre = around.ops[:, :2].float()
    assert torch.equal(recorder.points, centre[torch.tensor([0, 1, 2, 0, 1, 2, 0])])
    decoded_graphs(**options | {"n": 900}, spread=2.0, rng=stream(0, "d"))
    away = recorder.points - centre[torch.arange(900) % 3]
    sd = encode_means(recorder, known).std(dim=0)
    torch.testing.assert_close(away.std(dim=0), 2 * sd, atol=0.1, rtol=0.1)


def test_the_ranking_is_complete_and_in_order(ranking, table):
    assert all(a >= b for a, b in pairwise(ranking.predicted.tolist()))
    assert bool(SPACE.is_valid(ranking.archs).all())
    assert set(ranking.archs.num_nodes.tolist()) == {8}
    assert len(hashing.first_of_each(SPACE.keys(ranking.archs))) == len(ranking.archs)
    assert len(ranking.origin) == len(ranking.archs) == len(ranking.predicted)
    assert len(hashing.first_of_each(SPACE.keys(parents_of(table)))) == 1
    assert ranking.origin.count("appended") == ranking.origin.count("prepended") == 192


def test_the_ranking_depends_on_the_seed_and_on_nothing_else(run, table, ranking):
    before = torch.random.get_rng_state()
    again = rank(run, table, EFFORT, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert SPACE.to_text(again.archs) == SPACE.to_text(ranking.archs)
    assert torch.equal(again.predicted, ranking.predicted)
    other = rank(run, table, EFFORT, seed=1)
    assert other.predicted[0] != ranking.predicted[0]


def test_the_predictor_orders_held_out_cells(run, table):
    found = rank(run, table, EFFORT._replace(random=1, decoded=1, labels=300), seed=0)
    assert found.tau > 0.3  # an order by chance has 0, with a deviation of 0.09


def test_a_ranking_comes_back_from_its_file(ranking, run, tmp_path):
    ranking.save(tmp_path / "r.safetensors")
    again = Ranking.load(tmp_path / "r.safetensors")
    assert bool(again.archs.equal(ranking.archs).all())
    assert again.origin == ranking.origin
    assert torch.equal(again.predicted, ranking.predicted)
    assert again.tau == ranking.tau
    assert again.made_from == made_from(run, EFFORT, seed=0)
    assert again.made_from != made_from(run, EFFORT, seed=1)


def test_a_small_table_or_a_fit_of_another_size_is_refused(run, table, tmp_path):
    with pytest.raises(ValueError, match="rows, 3000 are needed: use all of it"):
        rank(run, table, Effort(), seed=0)
    dvae = fitted(tmp_path / "dvae", table, graphs=32, name="dvae")
    with pytest.raises(ValueError, match="fitted to 7 nodes cannot take 8"):
        rank(dvae, table, EFFORT, seed=0)


@pytest.mark.parametrize(("n", "count"), [(10, 10), (10, 3), (1384, 16), (7, 1)])
def test_one_place_of_each_part(n, count):
    draws = torch.stack([strata(n, count, rng=stream(seed, "s")) for seed in range(3000 // n + 50)])
    bounds = torch.linspace(0, n, count + 1).round().long()
    assert bool((draws >= bounds[:-1]).all() and (draws < bounds[1:]).all())
    if n <= 10:  # every place comes up
        assert set(draws.flatten().tolist()) == set(range(n))


def test_no_more_parts_than_places():
    with pytest.raises(ValueError, match="3 candidates cannot be divided into 4 parts"):
        strata(3, 4, rng=stream(0, "s"))
