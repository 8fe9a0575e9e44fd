"""SVGe and DGMG beyond the contract: directions, their union, the terms of the loss, sizes."""

import itertools
import math

import pytest
import torch

from netwright.generators.dgmg import dgmg
from netwright.generators.svge import SVGe, united
from netwright.generators.variational import divergence, perturbed
from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.graphs.ordering import reorderings
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.testing.generators import LAYOUTS, complete_graphs

CELL = LAYOUTS["cell"]
MAKERS = {
    "shared": lambda layout, **o: SVGe(layout, hidden=12, latent_size=4, **o),
    "separate": lambda layout, **o: SVGe(
        layout, hidden=12, latent_size=4, backward="separate", **o
    ),
    "released": lambda layout, **o: SVGe(layout, hidden=12, latent_size=4, variant="released", **o),
    "dgmg": lambda layout, **o: dgmg(layout, hidden=12, latent_size=4, **o),
}


def made(name, layout, seed=0):
    model = MAKERS[name](layout, rng=stream(seed, "made")).double()
    rng = stream(seed, "noise")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.double) * 0.3)
    return model


def points(count, size=4, seed=0):
    return torch.randn(count, size, dtype=torch.double, generator=stream(seed, "points"))


def log_p(model, z, archs, way):
    """Log-probability by one direction's decoder, of graphs as it decodes them."""
    decoder = model.decoders[way if len(model.decoders) > 1 else 0]
    order = archs.num_nodes.argsort(descending=True)
    ways = torch.full((len(archs),), way)
    op, edges = decoder.score(z.expand(len(archs), -1), archs[order], model._rules, ways)
    return (op + edges).sum(dim=1)[order.argsort()].detach()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("name", MAKERS)
def test_each_direction_is_a_distribution(name, layout):
    if name == "separate" and layout.reversed() is None:
        with pytest.raises(ValueError, match="cannot be read backwards"):
            made(name, layout)
        return
    model = made(name, layout)
    for way, mine in enumerate(model.layouts):
        total = log_p(model, points(1), complete_graphs(mine), way).exp().sum()
        assert float(total) == pytest.approx(1, abs=1e-9)


def test_likelihoods_are_those_of_the_two_decoders():
    model, archs, z = made("shared", CELL), complete_graphs(CELL), points(1)
    both = model.log_likelihood(z.expand(len(archs), 4), archs)
    torch.testing.assert_close(both[:, 0].detach(), log_p(model, z, archs, 0))
    torch.testing.assert_close(both[:, 1].detach(), log_p(model, z, dag.reverse(archs), 1))


@pytest.mark.parametrize("name", MAKERS)
def test_samples_of_each_direction_are_as_frequent_as_their_likelihood_says(name):
    model, z, n = made(name, CELL), points(1), 4000
    for way in range(len(model.layouts)):
        direction = ("forward", "backward")[way]
        drawn = model.decode(z.expand(n, 4), rng=stream(1, "draws"), direction=direction)
        drawn = dag.reverse(drawn) if way else drawn  # as it was decoded
        keys = hashing.labelled_keys(drawn)
        archs = drawn[hashing.first_of_each(keys)]
        p = log_p(model, z, archs, way).exp()
        known = hashing.labelled_keys(archs)
        count = (keys[:, None] == known).all(dim=2).sum(dim=0).double()
        often = p * n > 20
        assert often.sum() >= 5
        deviation = (count - n * p)[often] / (n * p * (1 - p))[often].sqrt()
        assert deviation.abs().max() < 5


def assert_as_frequent(archs, which, expected):
    """Compare how often graphs were drawn with their log-probabilities, by their keys."""
    count = dict.fromkeys(map(tuple, hashing.labelled_keys(archs).tolist()), 0)
    for key in hashing.labelled_keys(archs)[which].tolist():
        count[tuple(key)] += 1
    p = {}
    for key, value in zip(hashing.labelled_keys(expected[0]).tolist(), expected[1], strict=True):
        p[tuple(key)] = p.get(tuple(key), 0) + float(value)
    assert sum(p.values()) == pytest.approx(1, abs=1e-6)
    n, often = len(which), [key for key in p if p[key] * len(which) > 20]
    assert len(often) >= 5
    for key in often:
        spread = math.sqrt(n * p[key] * (1 - p[key]))
        assert abs(count.get(key, 0) - n * p[key]) < 5 * spread


@pytest.mark.parametrize("name", MAKERS)
def test_many_draws_are_as_frequent_at_each_point_as_their_likelihood_says(name):
    model, z, n = made(name, CELL), 2 * points(2), 5000
    for way, mine in enumerate(model.layouts):
        everything = complete_graphs(mine)
        direction = ("forward", "backward")[way]
        archs, which = model.decode_often(z, n, rng=stream(1, "draws"), direction=direction)
        assert which.shape == (2, n)
        archs = dag.reverse(archs) if way else archs  # as it was decoded
        for point in range(2):
            p = log_p(model, z[point : point + 1], everything, way).exp()
            assert_as_frequent(archs, which[point], (everything, p))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "separate"])
def test_many_draws_of_the_union_are_as_frequent_as_pairs_of_independent_draws(name):
    model, z = made(name, CELL), 2 * points(2)
    ways = [complete_graphs(layout) for layout in model.layouts]
    pairs = torch.cartesian_prod(*(torch.arange(len(archs)) for archs in ways))
    archs, which = model.decode_often(z, 5000, rng=stream(1, "draws"), direction="union")
    both = united(ways[0][pairs[:, 0]], dag.reverse(ways[1])[pairs[:, 1]], CELL)
    for point in range(2):
        p = [log_p(model, z[point : point + 1], ways[way], way).exp() for way in range(2)]
        joint = p[0][pairs[:, 0]] * p[1][pairs[:, 1]]
        assert_as_frequent(archs, which[point], (both, joint))


def test_a_single_draw_of_many_is_what_decoding_draws():
    model, z = made("shared", CELL), points(50)
    for direction in ("forward", "backward", "union"):
        archs, which = model.decode_often(z, 1, rng=stream(0, "x"), direction=direction)
        plain = model.decode(z, rng=stream(0, "x"), direction=direction)
        assert archs[which[:, 0]].equal(plain).all()


def test_of_many_draws_the_network_sees_each_beginning_once():
    model, z, seen = made("shared", CELL), points(3), []
    propagate = model.decoders[0].propagate
    handle = propagate.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    archs, which = model.decode_often(z, 1000, rng=stream(0, "x"))
    handle.remove()
    assert seen
    point = torch.arange(3).repeat_interleave(1000)
    drawn = archs[which.flatten()]
    for step, rows in enumerate(seen, start=2):
        begun = ArchitectureBatch.masked(drawn.ops, drawn.adj, drawn.num_nodes.clamp(max=step))
        key = torch.cat([point[:, None], hashing.labelled_keys(begun)], dim=1)
        assert rows == len(key[drawn.num_nodes > step].unique(dim=0))


@pytest.mark.parametrize("space", [NASBench101(), NASBench201(), ENAS()], ids=lambda s: s.name)
def test_many_draws_within_a_layout_are_distributed_like_draws_alone(space):
    model = made("shared", space.layout.freed(keep_ends=True))
    z, n, found = 2 * points(2), 2000, []
    for rows, draws in ((z, n), (z.repeat_interleave(n, dim=0), 1)):
        archs, which = model.decode_often(rows, draws, rng=stream(0, "x"), within=space.layout)
        assert space.is_valid(archs).all()
        found.append(hashing.labelled_keys(archs)[which.view(2, n)])
    for one, other in zip(*found, strict=True):  # thrown into 20 urns by their keys
        counts = torch.stack([(keys[:, 0] % 20).bincount(minlength=20) for keys in (one, other)])
        deviation = (counts[0] - counts[1]) / counts.sum(dim=0).clamp(min=1).sqrt()
        assert (counts.sum(dim=0) > 20).sum() > 3
        assert deviation.abs().max() < 5


def test_no_draws_are_refused():
    model = made("shared", CELL)
    with pytest.raises(ValueError, match="0 draws at each point"):
        model.decode_often(points(1), 0, rng=stream(0, "x"))
    with pytest.raises(ValueError, match="does not fit this generator"):
        model.decode_often(points(1), 5, rng=stream(0, "x"), within=LAYOUTS["free"])
    archs, which = model.decode_often(points(0), 5, rng=stream(0, "x"))
    assert len(archs) == 0
    assert which.shape == (0, 5)


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_gives_what_its_graphs_give_alone(name):
    """Repeating where rows should be interleaved would give graphs each other's latent points."""
    model, archs = made(name, CELL), complete_graphs(CELL)
    archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:30]]
    z = points(30)
    together = model.log_likelihood(z, archs)
    alone = [model.log_likelihood(z[i : i + 1], archs[i : i + 1]) for i in range(30)]
    torch.testing.assert_close(together, torch.cat(alone))
    swapped = model.log_likelihood(z.roll(1, 0), archs)
    assert ((together - swapped).abs() > 1e-6).all()


def test_decoders_share_their_weights_unless_told_otherwise():
    shared, separate = made("shared", CELL), made("separate", CELL)
    assert len(shared.decoders) == 1
    assert len(separate.decoders) == 2
    archs, z = complete_graphs(CELL)[:20], points(20)
    before = separate.log_likelihood(z, archs)
    with torch.no_grad():
        for parameter in separate.decoders[1].parameters():
            parameter.add_(0.1)
    after = separate.log_likelihood(z, archs)
    assert torch.equal(before[:, 0], after[:, 0])
    assert (before[:, 1] != after[:, 1]).all()


def test_the_directions_differ():
    model, archs = made("shared", CELL), complete_graphs(CELL)[:20]
    forward, backward = model.log_likelihood(points(20), archs).T
    assert (forward - backward).abs().min() > 1e-6


@pytest.mark.parametrize("name", ["shared", "released", "dgmg"])
def test_the_encoder_does_not_see_the_order_of_nodes(name):
    space = NASBench101(max_nodes=5)
    model = made(name, space.layout)
    archs = space.enumerate()
    copies, origin = reorderings(archs)
    assert len(copies) > 100
    for before, after in zip(model.encode(archs[origin]), model.encode(copies), strict=True):
        torch.testing.assert_close(before, after)


def test_different_cells_are_different_points():
    space = NASBench101(max_nodes=5)
    mean, _ = made("shared", space.layout).encode(space.enumerate())
    distance = torch.cdist(mean, mean) + torch.eye(len(mean))
    assert distance.min() > 1e-9


def test_the_union_on_all_pairs_of_small_graphs():
    """Against sets of edges, of the forward graph's nodes."""
    archs = complete_graphs(CELL)
    archs = archs[::7]
    pairs = torch.cartesian_prod(torch.arange(len(archs)), torch.arange(len(archs)))
    forward, backward = archs[pairs[:, 0]], archs[pairs[:, 1]]
    both = united(forward, backward, CELL)
    assert torch.equal(both.ops, forward.ops)
    assert torch.equal(both.num_nodes, forward.num_nodes)
    changed = 0
    for i in range(len(pairs)):
        size = int(forward.num_nodes[i])
        first, second = (set(map(tuple, x.adj[i].nonzero().tolist())) for x in (forward, backward))
        wanted = first | {(a, b) for a, b in second if b < size}
        assert set(map(tuple, both.adj[i].nonzero().tolist())) == wanted
        changed += wanted != first
    assert changed > len(pairs) / 2


def test_a_union_obeys_the_layout():
    layout = LAYOUTS["mixed"]
    archs = complete_graphs(layout)
    full = ArchitectureBatch.masked(
        archs.ops, torch.ones_like(archs.adj).triu(diagonal=1), archs.num_nodes
    )
    assert not (united(archs, full, layout).adj & ~(layout.free | layout.forced)).any()


def test_decoding_is_the_union_of_both_directions():
    model, z = made("shared", CELL), points(200)
    drawn = {
        way: model.decode(z, rng=stream(0, "x"), mode=True, direction=way)
        for way in ("forward", "backward", "union")
    }
    assert drawn["union"].equal(united(drawn["forward"], drawn["backward"], CELL)).all()
    assert not drawn["union"].equal(drawn["forward"]).all()


def test_without_a_backward_decoder_decoding_is_forward():
    model, z = made("dgmg", CELL), points(50)
    first = model.decode(z, rng=stream(0, "x"))
    assert first.equal(model.decode(z, rng=stream(0, "x"), direction="forward")).all()


@pytest.mark.parametrize("space", [NASBench101(), NASBench201(), ENAS()], ids=lambda s: s.name)
def test_within_a_layout_every_decoded_graph_is_of_the_space(space):
    model = made("shared", space.layout.freed(keep_ends=True))
    z = 3 * points(300)
    free = model.decode(z, rng=stream(0, "x"))
    assert not space.is_valid(free).all()
    for mode in (False, True):
        archs = model.decode(z, rng=stream(0, "x"), within=space.layout, mode=mode)
        assert space.is_valid(archs).all()


def test_a_layout_that_does_not_fit_is_refused():
    model = made("shared", CELL)
    with pytest.raises(ValueError, match="does not fit this generator"):
        model.decode(points(1), rng=stream(0, "x"), within=LAYOUTS["free"])
    size, ops = CELL.max_nodes, CELL.num_ops
    limited = Layout.make(size, ops, max_edges=3)
    with pytest.raises(ValueError, match="max_edges where no operation ends"):
        model.decode(points(1), rng=stream(0, "x"), within=limited)


def test_graphs_that_cannot_be_read_backwards_are_refused():
    layout = Layout.make(4, 4, allowed_ops=[[0], [0, 1, 2, 3], [0, 1, 2, 3], [3]], end_op=3)
    again = ArchitectureBatch(
        torch.tensor([[0, 0, 3, 0]]), torch.zeros(1, 4, 4, dtype=torch.bool), torch.tensor([3])
    )
    with pytest.raises(ValueError, match="its first operation comes up again"):
        made("shared", layout).loss(again, rng=stream(0, "x"))
    assert made("dgmg", layout).loss(again, rng=stream(0, "x")).isfinite()


def test_divergence_against_monte_carlo():
    mean, log_variance = points(3, 5), points(3, 5, seed=1)
    z = torch.stack(
        [perturbed(mean, log_variance, 1.0, rng=stream(i, "draw")) for i in range(20_000)]
    )
    sd = (0.5 * log_variance).exp()
    q = torch.distributions.Normal(mean, sd).log_prob(z)
    p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    estimate = (q - p).sum(dim=2)
    error = estimate.std(dim=0) / math.sqrt(len(z))
    assert ((estimate.mean(dim=0) - divergence(mean, log_variance)).abs() < 4 * error).all()
    assert (divergence(mean, log_variance) > 0).all()
    assert float(divergence(torch.zeros(1, 5), torch.zeros(1, 5))) == 0


def test_noise_is_scaled():
    mean, log_variance = points(2, 50), points(2, 50, seed=1)
    whole = perturbed(mean, log_variance, 1.0, rng=stream(0, "x")) - mean
    small = perturbed(mean, log_variance, 0.01, rng=stream(0, "x")) - mean
    torch.testing.assert_close(small, 0.01 * whole)
    assert torch.equal(perturbed(mean, log_variance, 0.0, rng=stream(0, "x")), mean)


def test_the_loss_is_the_sum_of_its_terms():
    archs = complete_graphs(CELL)[:40]
    for name, weight in (("shared", 0.005), ("released", 0.005 * 40), ("dgmg", 0.005)):
        model = made(name, CELL)
        terms = model.loss_terms(archs, rng=stream(0, "x"))
        total = terms["nodes"] + terms["edges"] + weight * terms["divergence"]
        torch.testing.assert_close(model.loss(archs, rng=stream(0, "x")), total)
        assert all(float(term.detach()) > 0 for term in terms.values())


def test_the_loss_is_the_likelihood_at_a_point_of_the_posterior():
    archs, model = complete_graphs(CELL)[:40], made("shared", CELL)
    mean, log_variance = model.encode(archs)
    z = perturbed(mean, log_variance, 1.0, rng=stream(0, "x"))
    terms = model.loss_terms(archs, rng=stream(0, "x"))
    likelihood = model.log_likelihood(z, archs).sum(dim=1).mean()
    torch.testing.assert_close(terms["nodes"] + terms["edges"], -likelihood)
    torch.testing.assert_close(terms["divergence"], divergence(mean, log_variance).mean())


def test_the_released_variant_averages_the_edges_of_a_step():
    archs = complete_graphs(CELL)
    archs = archs[archs.num_nodes == 4][:1]
    model = made("released", CELL)
    model.noise = 0.0
    mean, _ = model.encode(archs)
    _, edges, free = model._parts(mean, archs)
    assert free[:, 0].tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]
    expected = -(edges[:, 0, 1:] / torch.tensor([1.0, 2.0, 3.0])).sum()
    torch.testing.assert_close(model.loss_terms(archs, rng=stream(0, "x"))["edges"], expected)


@pytest.mark.parametrize(
    ("space", "count"), [(NASBench101(), 2_245_121), (ENAS(), 2_246_417)], ids=["101", "enas"]
)
def test_as_many_parameters_as_the_released_code(space, count):
    model = SVGe(space.layout, variant="released", rng=stream(0, "x"))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_parameters_fit_graphs_of_any_size():
    small, large = (NASBench101(max_nodes=n).layout.freed(keep_ends=True) for n in (5, 8))
    model = made("shared", small)
    other = made("shared", large, seed=1)
    other.load_state_dict(model.state_dict())
    archs = NASBench101(max_nodes=5).enumerate()
    torch.testing.assert_close(other.encode(archs)[0], model.encode(archs)[0])
    z = points(len(archs))
    # The smaller layout ends at its last node, so its last operation is not decided.
    early = archs.num_nodes < 5
    torch.testing.assert_close(
        other.log_likelihood(z, archs)[early, 0], model.log_likelihood(z, archs)[early, 0]
    )


def test_gradients_reach_every_parameter_by_every_term():
    archs = complete_graphs(CELL)[:40]
    for name in ("shared", "separate", "dgmg"):
        model = made(name, CELL)
        for term in ("nodes", "edges", "divergence"):
            model.zero_grad()
            model.loss_terms(archs, rng=stream(0, "x"))[term].backward()
            reached = {
                n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()
            }
            encoder = {n for n in reached if n.startswith("encoder")}
            assert len(encoder) > 10
            assert (term == "divergence") == (reached == encoder)


def test_numerical_gradients():
    layout = LAYOUTS["cell"]
    archs = complete_graphs(layout)[::40]
    model = SVGe(layout, hidden=4, latent_size=2, rng=stream(0, "x")).double()
    loss = model.loss(archs, rng=stream(0, "y"))
    loss.backward()
    for name in ("encoder.propagate.message.1.weight", "decoders.0.propagate.update.2.weight_hh"):
        parameter = dict(model.named_parameters())[name]
        for i, j in itertools.product(range(2), range(2)):
            with torch.no_grad():
                values = []
                for step in (1e-5, -1e-5):
                    parameter[i, j] += step
                    values.append(float(model.loss(archs, rng=stream(0, "y"))))
                    parameter[i, j] -= step
            slope = (values[0] - values[1]) / 2e-5
            assert parameter.grad[i, j].item() == pytest.approx(slope, rel=1e-4, abs=1e-7)
