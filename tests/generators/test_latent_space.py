"""Walks through the latent space of a generator whose every answer is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netwright.generators.base import HasLatent, complete
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.latent import (
    Drawn,
    PrincipalPlane,
    circle,
    decoded,
    decoded_grid,
    draw_counts,
    encode_means,
    interpolations,
    most_frequent,
    square,
)
from netwright.generators.svge import SVGe
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

NODES, OPS, SCALE = 4, 9, 0.25
MIDDLE = OPS // 2


class Linear(nn.Module):
    """Operations, as numbers around the middle one, times an orthogonal matrix; exactly invertible.

    Where draws are not the likeliest, each operation is one higher with probability ``noise``.
    """

    any_size = False

    def __init__(self, noise=0.0):
        super().__init__()
        self.layout = Layout.make(NODES, OPS, edges=[(i, i + 1) for i in range(NODES - 1)])
        self.latent_size, self.noise = NODES, noise
        matrix = torch.randn(NODES, NODES, generator=stream(3, "turn"), dtype=torch.double)
        self.turn = torch.linalg.qr(matrix).Q.float()
        self.calls = []

    def encode(self, archs):
        mean = SCALE * (archs.ops - MIDDLE).float() @ self.turn
        return mean, torch.full_like(mean, -2.0)

    def loss(self, archs, *, rng):
        raise NotImplementedError

    def decode(self, latent, *, rng, mode=False):
        self.calls.append(len(latent))
        ops = (latent @ self.turn.T / SCALE + MIDDLE).round().long()
        if not mode:
            ops = ops + (torch.rand(ops.shape, generator=rng) < self.noise)
        return of(ops.clamp(0, OPS - 1).tolist())


def of(ops):
    ops = torch.as_tensor(ops, dtype=torch.long).view(-1, NODES)
    chain = torch.eye(NODES, dtype=torch.bool).roll(1, dims=1).triu(1)
    return ArchitectureBatch(ops, chain.repeat(len(ops), 1, 1), torch.full((len(ops),), NODES))


def rng():
    return stream(0, "walk")


TOY = Linear()


def test_the_toy_has_a_latent_space():
    assert isinstance(TOY, HasLatent)
    archs = of([[1, 2, 3, 4], [8, 7, 0, 4]])
    assert decoded(TOY, encode_means(TOY, archs), rng=rng()).archs.equal(archs).all()


def test_the_plane_of_greatest_variance_is_recovered():
    # The second operation varies twice as far as the fourth, which varies; the others hardly do.
    ops = torch.cartesian_prod(*map(torch.tensor, ([4], [0, 8], [4, 5], [2, 6])))
    points = encode_means(TOY, of(ops))
    plane = PrincipalPlane.of(points)
    assert torch.allclose(plane.origin, points.mean(dim=0), atol=1e-6)
    for found, axis in zip(plane.directions, (TOY.turn[1], TOY.turn[3]), strict=True):
        assert abs(float(found @ axis)) == pytest.approx(1, abs=1e-5)
        assert float(found[found.abs().argmax()]) > 0
    assert plane.explained.tolist() == pytest.approx([16 / 20.25, 4 / 20.25], abs=1e-5)


def test_the_plane_does_not_depend_on_the_order_or_the_precision_of_the_points():
    points = torch.randn(50, 6, generator=rng()) * torch.tensor([1, 5, 2, 3, 0.1, 0.2])
    plane, turned = PrincipalPlane.of(points), PrincipalPlane.of(points.flip(0))
    assert torch.allclose(plane.directions, turned.directions, atol=1e-6)
    exact = PrincipalPlane.of(points.double())
    assert exact.directions.dtype == torch.double
    assert torch.allclose(exact.directions.float(), plane.directions, atol=1e-6)
    _, sizes, axes = torch.linalg.svd(exact.origin - points.double(), full_matrices=False)
    assert torch.allclose((exact.directions @ axes[:2].T).abs(), torch.eye(2).double(), atol=1e-6)
    assert torch.allclose(exact.explained, sizes[:2] ** 2 / (sizes**2).sum())


@given(st.integers(2, 8), st.integers(0, 2**30))
def test_projecting_what_was_lifted_gives_it_back(size, seed):
    source = torch.Generator().manual_seed(seed)
    plane = PrincipalPlane.of(torch.randn(9, size, generator=source, dtype=torch.double))
    at = torch.randn(5, 2, generator=source, dtype=torch.double)
    assert torch.allclose(plane.project(plane.lift(at)), at)
    largest = plane.directions.gather(1, plane.directions.abs().argmax(dim=1, keepdim=True))
    assert bool((largest > 0).all())  # of the two signs of a direction, always the same
    away = torch.randn(5, size, generator=source, dtype=torch.double)
    beside = away - plane.lift(plane.project(away))  # what projecting loses is at right angles
    assert torch.allclose(beside @ plane.directions.T, torch.zeros(5, 2).double(), atol=1e-9)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.zeros(5, 3), "differ"),
        (torch.ones(1, 3), "differ"),
        (torch.ones(0, 3), "at least two"),
        (torch.tensor([[0.0, 1.0], [math.nan, 2.0]]), "finite"),
        (torch.arange(4.0)[:, None], "two dimensions"),
    ],
)
def test_points_without_a_plane_are_refused(points, reason):
    with pytest.raises(ValueError, match=reason):
        PrincipalPlane.of(points)


def test_a_square_is_read_row_by_row_from_the_upper_left():
    expected = [(-0.3, 0.3), (0, 0.3), (0.3, 0.3), (-0.3, 0), (0, 0), (0.3, 0)]
    expected += [(-0.3, -0.3), (0, -0.3), (0.3, -0.3)]
    assert torch.allclose(square(3), torch.tensor(expected), atol=1e-7)
    for k, width in ((1, 0.3), (3, 0.0), (3, math.inf)):
        with pytest.raises(ValueError, match="grid"):
            square(k, width)


def test_a_grid_is_decoded_where_it_lies_in_the_plane():
    ops = torch.cartesian_prod(*map(torch.tensor, ([4], [0, 8], [4], [2, 6])))
    plane = PrincipalPlane.of(encode_means(TOY, of(ops)))
    grid = decoded_grid(TOY, plane, k=3, half_width=3 * SCALE, rng=rng())
    assert torch.allclose(plane.project(grid.latent), square(3, 3 * SCALE), atol=1e-6)
    right, up = (
        int((d @ axis).sign()) for d, axis in zip(plane.directions, TOY.turn[[1, 3]], strict=True)
    )
    expected = [[4, 4 + 3 * x * right, 4, 4 + 3 * y * up] for y in (1, 0, -1) for x in (-1, 0, 1)]
    assert grid.archs.ops.tolist() == expected


@pytest.mark.parametrize("radius", [None, 1.0])
def test_a_circle_is_closed_and_its_points_equally_far_apart(radius):
    start = of([[1, 4, 6, 4]])
    walk = circle(TOY, start, n=14, radius=radius, rng=rng())
    z = encode_means(TOY, start)[0]
    r = float(z.norm()) if radius is None else radius
    assert torch.allclose(walk.latent[0], r * z / z.norm(), atol=1e-6)
    assert torch.allclose(walk.latent.norm(dim=1), torch.full((14,), r), atol=1e-5)
    step = (walk.latent - walk.latent.roll(-1, dims=0)).norm(dim=1)  # the last returns
    assert torch.allclose(step, torch.full((14,), 2 * r * math.sin(math.pi / 14)), atol=1e-5)
    assert torch.allclose(walk.latent[7], -walk.latent[0], atol=1e-5)  # a great circle
    assert int(torch.linalg.matrix_rank(walk.latent, atol=1e-4)) == 2
    if radius is None:
        assert walk.archs[:1].equal(start).all()


def test_the_direction_of_a_circle_is_drawn_uniformly_at_right_angles():
    start = of([[1, 4, 6, 4]])
    z, source = encode_means(TOY, start)[0], rng()
    north = torch.stack(
        [circle(TOY, start, n=4, radius=1.0, rng=source).latent[1] for _ in range(800)]
    )
    assert float((north @ z).abs().max()) < 1e-5
    _, _, axes = torch.linalg.svd(z[None])
    shares = (north @ axes[1:].T).square().mean(dim=0)  # of three directions at right angles to z
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.05)
    assert float(north.mean(dim=0).abs().max()) < 0.1
    again = circle(TOY, start, n=4, radius=1.0, rng=rng()).latent[1]
    assert torch.equal(again, north[0])


def test_a_line_is_straight_and_has_its_ends():
    starts, ends = of([[0, 4, 4, 4], [8, 8, 0, 0]]), of([[8, 4, 4, 0], [8, 0, 0, 8]])
    lines = interpolations(TOY, starts, ends, steps=5, rng=rng())
    expected = [[2 * t, 4, 4, 4 - t] for t in range(5)]
    expected += [[8, 8 - 2 * t, 0, 2 * t] for t in range(5)]
    assert lines.archs.ops.tolist() == expected
    points = lines.latent.view(2, 5, NODES)
    assert torch.allclose(points.diff(n=2, dim=1), torch.zeros(2, 3, NODES), atol=1e-6)


def test_an_arc_turns_by_equal_angles_and_has_its_ends():
    starts, ends = of([[8, 4, 4, 4], [5, 4, 4, 4]]), of([[4, 8, 4, 4], [4, 4, 7, 4]])
    arcs = interpolations(TOY, starts, ends, steps=4, spherical=True, rng=rng())
    points = arcs.latent.view(2, 4, NODES)
    assert torch.allclose(points[:, 0], encode_means(TOY, starts), atol=1e-6)
    assert torch.allclose(points[:, -1], encode_means(TOY, ends), atol=1e-6)
    assert torch.allclose(points[0].norm(dim=1), torch.full((4,), 4 * SCALE), atol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(points[0, :-1], points[0, 1:])
    assert torch.allclose(cosine, torch.full((3,), math.cos(math.pi / 6)), atol=1e-5)


def test_an_arc_without_a_direction_to_turn_to_is_a_line():
    starts, ends = (
        of([[6, 4, 4, 4], [6, 4, 4, 4], [4, 4, 4, 4]]),
        of([[8, 4, 4, 4], [2, 4, 4, 4], [8, 4, 4, 4]]),
    )
    arcs = interpolations(TOY, starts, ends, steps=3, spherical=True, rng=rng())
    assert arcs.archs.ops[:, 0].tolist() == [6, 7, 8, 6, 4, 2, 4, 6, 8]


def test_many_draws_are_decoded_to_the_most_frequent_graph():
    archs = of([[1, 2, 3, 4], [7, 7, 0, 4]])
    points = encode_means(TOY, archs)
    rare, usual = Linear(noise=0.1), Linear(noise=0.9)
    assert decoded(rare, points, rng=rng(), draws=200).archs.equal(archs).all()
    shifted = decoded(usual, points, rng=rng(), draws=200).archs
    assert shifted.equal(of([[2, 3, 4, 5], [8, 8, 1, 5]])).all()
    assert decoded(usual, points, rng=rng()).archs.equal(archs).all()  # the likeliest choices
    single = decoded(usual, points, rng=rng(), draws=1).archs
    assert single.equal(usual.decode(points, rng=rng())).all()
    with pytest.raises(ValueError, match="0 draws"):
        decoded(rare, points, rng=rng(), draws=0)


def test_draws_are_counted_point_by_point_in_the_order_they_were_drawn():
    archs = of([[1, 2, 3, 4], [7, 7, 0, 4], [1, 2, 3, 4]])
    points = encode_means(TOY, archs)
    certain = draw_counts(TOY, points, draws=700, rng=rng())
    assert certain.archs.equal(archs).all()
    assert certain.point.tolist() == [0, 1, 2]
    assert certain.count.tolist() == [700] * 3
    unsure = Linear(noise=0.3)
    drawn = draw_counts(unsure, points, draws=700, rng=rng())
    assert max(unsure.calls) <= 1024
    assert torch.bincount(drawn.point, drawn.count).tolist() == [700] * 3
    assert drawn.point.tolist() == sorted(drawn.point.tolist())
    again = rng()
    for point in range(3):
        rows = unsure.decode(points[point].expand(700, -1), rng=again).ops.tolist()
        mine = drawn.archs.ops[drawn.point == point].tolist()
        assert mine == [list(row) for row in dict.fromkeys(map(tuple, rows))]
        assert drawn.count[drawn.point == point].tolist() == [rows.count(row) for row in mine]


def test_draws_that_share_steps_are_counted_in_batches():
    model = SVGe(NASBench101().layout, hidden=8, latent_size=3, rng=stream(0, "model"))
    sizes, whole = [], model.decode_often

    def decode_often(latent, draws, **options):
        sizes.append(len(latent) * draws)
        return whole(latent, draws, **options)

    model.decode_often = decode_often
    points = torch.randn(50, 3, generator=stream(0, "points"))
    drawn = draw_counts(model, points, draws=500, rng=rng())
    assert sum(sizes) == 25_000
    assert max(sizes) <= 8192
    assert torch.bincount(drawn.point, drawn.count).tolist() == [500] * 50
    inside = draw_counts(model, points, draws=20, rng=rng(), within=NASBench101().layout)
    assert NASBench101().is_valid(inside.archs).all()


def test_draws_within_a_layout_need_a_generator_that_can():
    with pytest.raises(ValueError, match="Linear cannot keep to a layout"):
        draw_counts(TOY, torch.zeros(1, NODES), draws=5, rng=rng(), within=TOY.layout)
    with pytest.raises(ValueError, match="0 draws"):
        draw_counts(TOY, torch.zeros(1, NODES), draws=0, rng=rng())
    assert len(draw_counts(TOY, torch.zeros(0, NODES), draws=5, rng=rng()).archs) == 0


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_the_most_frequent_graph_is_the_one_that_counting_by_hand_finds(seed, total):
    random = torch.Generator().manual_seed(seed)

    def numbers(top):
        return torch.randint(top, (total,), generator=random)

    point, count, kind = numbers(5).sort().values, numbers(6) + 1, numbers(4)
    valid = numbers(3) > 0
    archs = of(torch.zeros(total, NODES))
    keys = torch.stack([kind // 2, kind % 2], dim=1)
    found = most_frequent(Drawn(archs, point, count), 6, valid=valid, keys=keys)
    for p in range(6):
        often = {}  # keeps the order of insertion, so the first of the most frequent wins
        for i in range(total):
            if point[i] == p and valid[i]:
                first, many = often.get(int(kind[i]), (i, 0))
                often[int(kind[i])] = (first, many + int(count[i]))
        expected = max(often.values(), key=lambda pair: pair[1])[0] if often else -1
        assert int(found[p]) == expected


def test_points_are_decoded_in_batches_and_in_order():
    source = Linear()
    archs = of(torch.randint(0, OPS, (2500, NODES), generator=rng()))
    found = decoded(source, encode_means(source, archs), rng=rng())
    assert source.calls == [1024, 1024, 452]
    assert found.archs.equal(archs).all()
    source.calls.clear()
    assert decoded(source, found.latent[:300], rng=rng(), draws=10).archs.equal(archs[:300]).all()
    assert max(source.calls) <= 1024
    assert sum(source.calls) == 3000


def test_no_walk_touches_the_global_random_state():
    before, start = torch.get_rng_state(), of([[1, 4, 6, 4]])
    circle(TOY, start, rng=rng(), draws=3)
    interpolations(TOY, start, start, steps=3, rng=rng())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("walk", "reason"),
    [
        (lambda: circle(TOY, of([[1, 2, 3, 4]] * 2), rng=rng()), "one architecture"),
        (lambda: circle(TOY, of([[1, 2, 3, 4]]), n=1, rng=rng()), "two points"),
        (lambda: circle(TOY, of([[1, 2, 3, 4]]), radius=0.0, rng=rng()), "positive"),
        (lambda: circle(TOY, of([[MIDDLE] * NODES]), rng=rng()), "not the origin"),
        (lambda: interpolations(TOY, of([]), of([]), steps=3, rng=rng()), "0 starts"),
        (lambda: interpolations(TOY, of([[1] * 4]), of([]), steps=3, rng=rng()), "0 ends"),
        (lambda: interpolations(TOY, of([[1] * 4]), of([[1] * 4]), steps=1, rng=rng()), "1 steps"),
    ],
)
def test_walks_that_cannot_be_made_are_refused(walk, reason):
    with pytest.raises(ValueError, match=reason):
        walk()


REAL = {"svge": SVGe, "dgmg": dgmg, "dvae": DVAE}


@pytest.mark.parametrize("draws", [None, 3])
@pytest.mark.parametrize("make", REAL.values(), ids=REAL)
def test_the_walks_of_real_generators_are_graphs_of_their_layout(make, draws):
    space = NASBench101()
    layout = space.layout.freed(keep_ends=True)
    generator = make(layout, hidden=12, latent_size=6, rng=stream(0, "init"))
    archs = space.sample(20, rng=stream(0, "data"))

    def walks():
        source = rng()
        means = encode_means(generator, archs)
        plane = PrincipalPlane.of(means)
        yield decoded_grid(generator, plane, k=3, rng=source, draws=draws), 9
        yield circle(generator, archs[:1], rng=source, draws=draws), 14
        yield interpolations(generator, archs[:4], archs[4:8], steps=5, rng=source, draws=draws), 20

    for (walk, n), (again, _) in zip(walks(), walks(), strict=True):
        assert walk.latent.shape == (n, 6)
        assert not walk.latent.requires_grad
        assert complete(walk.archs, layout).all()
        assert walk.archs.equal(again.archs).all()
        assert torch.equal(walk.latent, again.latent)
    means = encode_means(generator, archs)
    lines = interpolations(generator, archs[:4], archs[4:8], steps=5, rng=rng())
    assert torch.allclose(lines.latent.view(4, 5, 6)[:, -1], means[4:8], atol=1e-5)
    assert torch.allclose(circle(generator, archs[:1], rng=rng()).latent[0], means[0], atol=1e-5)
