"""Draws that share rows: what each draw chose is kept, and rows are as few as they can be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.nn.draws import Draws

CPU = torch.device("cpu")


def numbers(top, shape, seed):
    return torch.randint(top, shape, generator=torch.Generator().manual_seed(seed))


@given(
    st.integers(1, 3),
    st.integers(1, 40),
    st.sampled_from([2, 3, 2**20, 2**40]),
    st.integers(0, 2**32),
)
def test_each_draw_keeps_its_own_choices(points, each, options, seed):
    """Random walks of every draw, some ending early, against lists kept for each draw alone."""
    steps, size = 5, 6
    draws = Draws(points, each, size, CPU)
    values = numbers(options, (3,), seed)  # of which draws choose, so that some agree
    chosen = [[] for _ in range(points * each)]
    going = torch.arange(points * each)
    for step in range(steps):
        choice = values[numbers(3, (len(going), 2), seed + step)]
        before = draws.point.clone()
        come_from, what = draws.split(choice, options)
        assert torch.equal(draws.point, before[come_from])
        draws.graphs.ops[:, step] = what[:, 0]
        draws.graphs.adj[:, :2, step] = what == values[1]
        for draw, some in zip(going.tolist(), choice.tolist(), strict=True):
            chosen[draw].append(some)
        assert torch.equal(what[draws.row], choice)
        assert torch.equal(draws.point[draws.row], going // each)
        prefixes = {(draw // each, str(chosen[draw])) for draw in going.tolist()}
        assert len(draws.point) == (len(prefixes) if each > 1 else len(going))
        ended = what[:, 0] == values[0] if step + 1 < steps else torch.ones(len(what)).bool()
        going = going[~ended[draws.row]]
        draws.finish(ended, step + 1)
        if not len(going):
            break
    graphs, which = draws.result()
    assert which.shape == (points, each)
    for draw, some in enumerate(chosen):
        graph = graphs[which.flatten()[draw : draw + 1]]
        assert graph.num_nodes.item() == len(some)
        assert graph.ops[0, : len(some)].tolist() == [first for first, _ in some]
        edges = [[int(x == values[1]) for x in pair] for pair in some]
        assert graph.adj[0, :2, : len(some)].int().T.tolist() == edges
    if each > 1:
        ended = {(draw // each, str(some)) for draw, some in enumerate(chosen)}
        assert len(graphs) == len(ended)


def test_draws_of_different_points_never_share_a_row():
    draws = Draws(2, 3, 4, CPU)
    come_from, what = draws.split(torch.zeros(6, 1, dtype=torch.long), 5)
    assert come_from.tolist() == [0, 1]
    assert what.tolist() == [[0], [0]]
    assert draws.row.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("points", [0, 2])
@pytest.mark.parametrize("each", [1, 3])
def test_no_step_leaves_draws_unfinished(points, each):
    draws = Draws(points, each, 4, CPU)
    draws.split(torch.zeros(points * each, 1, dtype=torch.long), 2)
    draws.finish(torch.ones(points, dtype=torch.bool), 3)
    graphs, which = draws.result()
    assert len(graphs) == points
    assert graphs.num_nodes.tolist() == [3] * points
    assert which.tolist() == [[i] * each for i in range(points)]
    assert not len(draws.row)
