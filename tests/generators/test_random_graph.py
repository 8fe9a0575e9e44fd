import pytest
from jaxtyping import TypeCheckError

from netwright.config.methods.parts import ExplorerConfig, explorer
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.randwire import RandWire

CELL = Layout.make(7, 5, allowed_ops=[[0], *[[1, 2, 3, 4]] * 5, [4]], end_op=4)
WIRES = Layout.make(12, 1)
N = 4000


def draw(layout, n=N, seed=0, **options):
    return RandomGraph(layout, **options).sample(n, rng=stream(seed, "draw"))


def close(share, p, n=N):
    """Within four standard deviations of a share of ``n`` draws."""
    return abs(float(share) - p) < 4 * (p * (1 - p) / n) ** 0.5 + 1e-9


def test_er_draws_each_edge_with_p_and_each_allowed_operation_alike():
    archs = draw(CELL, p=0.25)
    assert (archs.num_nodes == 7).all()
    for i in range(7):
        for j in range(i + 1, 7):
            assert close(archs.adj[:, i, j].float().mean(), 0.25)
    assert (archs.ops[:, 0] == 0).all()
    assert (archs.ops[:, 6] == 4).all()
    for op in (1, 2, 3):  # the end does not stand inside
        assert close((archs.ops[:, 1:6] == op).float().mean(), 1 / 3, n=5 * N)


def test_edges_and_operations_are_independent():
    archs = draw(CELL, p=0.5)
    both = archs.adj[:, 0, 1] & archs.adj[:, 0, 2] & (archs.ops[:, 1] == 1)
    assert close(both.float().mean(), 0.5 * 0.5 / 3)


def test_uniform_sizes_end_at_the_last_node():
    archs = draw(CELL, sizes="uniform", p=0.25)
    for size in range(3, 8):
        of_size = archs[archs.num_nodes == size]
        assert close(len(of_size) / N, 1 / 5)
        assert (of_size.ops[:, size - 1] == 4).all()
        pairs = size * (size - 1) // 2
        assert close(of_size.num_edges.float().mean() / pairs, 0.25, n=pairs * len(of_size))
    assert set(archs.num_nodes.tolist()) == {3, 4, 5, 6, 7}


def test_operation_weights():
    archs = draw(CELL, op_weights=[1.0, 3.0, 0.0, 1.0, 0.0])
    assert close((archs.ops[:, 1:6] == 1).float().mean(), 0.75, n=5 * N)
    assert not (archs.ops == 2).any()
    assert (archs.ops[:, 0] == 0).all()


def test_the_layout_has_the_last_word_on_edges():
    layout = Layout.make(4, 2, edges=[(0, 1), (2, 3)])
    layout.free[0, 3] = True
    archs = draw(layout, p=0.5)
    assert archs.adj[:, [0, 2], [1, 3]].all()
    assert close(archs.adj[:, 0, 3].float().mean(), 0.5)
    assert (archs.num_edges == 2 + archs.adj[:, 0, 3]).all()


def test_ws_keeps_the_number_of_edges_and_rewires_with_p():
    ring = draw(WIRES, 1, model="ws", k=4, p=0.0)
    archs = draw(WIRES, 200, model="ws", k=4, p=0.5)
    assert (archs.num_edges == 24).all()
    kept = (archs.adj & ring.adj).sum(dim=(1, 2)).float().mean() / 24
    assert 0.4 < kept < 0.75  # half of them, and those that others were rewired to


def test_ba_keeps_the_number_of_edges():
    archs = draw(WIRES, 200, model="ba", m=3)
    assert (archs.num_edges == 3 * (12 - 3)).all()
    assert len({tuple(adj.flatten().tolist()) for adj in archs.adj}) > 150


@pytest.mark.parametrize("model", ["er", "ws", "ba"])
@pytest.mark.parametrize("sizes", ["full", "uniform"])
def test_small_graphs_and_few(model, sizes):
    for layout in (CELL, Layout.make(2, 2), Layout.make(1, 1), Layout.make(3, 2, end_op=1)):
        for n in (0, 1, 5):
            assert len(draw(layout, n, model=model, sizes=sizes)) == n


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"op_weights": [1.0, 1.0]}, "must be 5 numbers"),
        ({"op_weights": [1.0, 0.0, 0.0, 0.0, 1.0]}, "no operation is left for node 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        RandomGraph(CELL, **options)


@pytest.mark.parametrize(
    ("options", "message"), [({"model": "xx"}, "'er'"), ({"sizes": "some"}, "'full'")]
)
def test_unknown_names(options, message):
    # Under these tests the type checker is faster than the constructor.
    with pytest.raises((ValueError, TypeCheckError), match=message):
        RandomGraph(CELL, **options)


def test_bad_probability():
    with pytest.raises(ValueError, match="p must lie"):
        draw(CELL, p=1.5)


class TestRanges:
    def test_p_is_drawn_for_each_graph(self):
        layout = RandWire(30).layout
        edges = RandomGraph(layout, p=(0.1, 0.9)).sample(400, rng=stream(0, "draws")).num_edges
        share = edges.double() / 435
        assert share.min() < 0.15
        assert share.max() > 0.85
        assert abs(share.mean() - 0.5) < 0.05
        narrow = RandomGraph(layout, p=0.5).sample(400, rng=stream(0, "draws")).num_edges
        assert (narrow.double() / 435).std() < 0.05 < share.std()

    def test_k_is_an_even_number_of_the_range(self):
        graphs = RandomGraph(RandWire(12).layout, model="ws", p=0.3, k=(2, 7))
        edges = graphs.sample(200, rng=stream(0, "draws")).num_edges
        assert set(edges.tolist()) == {12, 24, 36}

    def test_bad_ranges(self):
        layout = RandWire(4).layout
        for p in (1.5, -0.1, (0.5, 0.2), (0.5, 1.5)):
            with pytest.raises(ValueError, match=r"p must lie in 0\.\.1"):
                RandomGraph(layout, p=p)
        with pytest.raises(ValueError, match="with an even number in it"):
            RandomGraph(layout, model="ws", k=(3, 3))

    def test_from_settings(self):
        config = ExplorerConfig(model="ws", p=(0.2, 0.8), k=(2, 6))
        made = explorer(config, RandWire(6))
        assert (made.p, made.k) == ((0.2, 0.8), (2, 6))
        with pytest.raises(ValueError, match="less than or equal to 1"):
            ExplorerConfig(p=2.0)
