"""The contract of generators with a latent space, as checks to run on your own.

::

    from netwright.testing.latent import LATENT_CHECKS

    @pytest.mark.parametrize("check", LATENT_CHECKS.values(), ids=LATENT_CHECKS.keys())
    def test_my_autoencoder(check):
        check(lambda layout, *, rng: MyAutoencoder(layout, rng=rng))

They come on top of `GENERATOR_CHECKS` and run on the same layouts. A generator may refuse a layout
with a ValueError at construction, but not one of `REQUIRED`. Two attributes tell what cannot be
seen from outside: ``deterministic = True``, that `decode` makes no random choices by nature, and
``noise``, a number that scales the noise of the encoding in `loss`, so that it can be switched off.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netwright.generators.base import Generator, HasLatent, complete
from netwright.generators.latent import draw_counts
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.dag import from_first
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.testing.generators import LAYOUTS, Check, Make, complete_graphs, outside

#: Layouts that every generator has to work on.
REQUIRED = ("free", "cell", "fixed edges")
#: Standard deviation of the noise added to parameters: fresh ones hide mistakes.
_NOISE = 0.1
#: Steps of Adam, and the largest number of graphs, when a generator has to learn a few by heart.
_STEPS, _FEW = 200, 8
#: Samples for a comparison of two frequencies, and how often a correct generator fails it.
_DRAWS, _SIGNIFICANCE = 2000, 1e-6


@runtime_checkable
class Autoencoder(HasLatent, Protocol):
    """What the checks use: a `Generator` that is a `HasLatent`."""

    layout: Layout

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """`Generator.sample`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """`nn.Module.named_parameters`."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """`nn.Module.state_dict`."""
        ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> object:
        """`nn.Module.load_state_dict`."""
        ...

    def eval(self) -> object:
        """`nn.Module.eval`."""
        ...


def check_latent_protocol(make: Make) -> None:
    """It is a `Generator` and a `HasLatent`; `latent_size` and `any_size` are what they say."""
    for _, layout, model in _each(make):
        assert isinstance(model, Generator), "a generator derives from `Generator`"
        assert isinstance(model.latent_size, int), "`latent_size` is a number"
        assert model.latent_size > 0, "`latent_size` is positive"
        larger = Layout.make(layout.max_nodes + 2, layout.num_ops, end_op=layout.end_op)
        other, _ = _attempt(make, larger, rng=stream(0, "larger"))
        if not isinstance(other, Autoencoder):
            continue
        own, their = (
            {name: value.shape for name, value in some.named_parameters()}
            for some in (model, other)
        )
        assert model.any_size == (own == their), (
            f"`any_size` is {model.any_size}, but with {larger.max_nodes} nodes its parameters "
            f"have {'the same' if own == their else 'other'} shapes"
        )


def check_encode(make: Make) -> None:
    """Mean and log-variance have a row per graph, are finite, and tell graphs apart."""
    for name, layout, model in _each(make):
        archs = _some(layout)
        for n in (len(archs), 1, 0):
            mean, log_variance = model.encode(archs[:n])
            for what, value in (("mean", mean), ("log-variance", log_variance)):
                wanted = (n, model.latent_size)
                assert value.shape == wanted, f"the {what} has shape {tuple(value.shape)}"
                assert value.isfinite().all(), f"the {what} is not finite on layout {name!r}"
        mean, _ = model.encode(archs)
        assert len(archs) == 1 or (mean - mean[:1]).abs().max() > 1e-6, (
            f"all graphs of layout {name!r} have one encoding"
        )


def check_encode_one_by_one(make: Make) -> None:
    """A batch gives what its graphs give alone, in order, however often it is encoded."""
    for name, layout, model in _each(make):
        archs = _some(layout)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        alone = [model.encode(archs[i : i + 1]) for i in range(len(archs))]
        both = [torch.cat(parts) for parts in zip(*alone, strict=True)]
        for got, expected in zip(model.encode(archs), both, strict=True):
            _assert_close(got, expected, f"graphs alone, on layout {name!r}")
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]), f"`encode` changes {key}"


def check_encode_padding(make: Make) -> None:
    """Padding does not matter: neither less of it nor more."""
    for name, layout, model in _each(make):
        archs = _some(layout)
        expected = model.encode(archs)
        for size in range(1, layout.max_nodes + 3):
            fits = archs.num_nodes <= size
            if fits.any():
                got = model.encode(archs[fits].pad(size))
                for one, other in zip(got, expected, strict=True):
                    _assert_close(one, other[fits], f"padding to {size}, on layout {name!r}")


def check_refuses_graphs(make: Make) -> None:
    """Graphs outside the layout raise a ValueError of one line, in `encode` and in `loss`."""
    for name, layout, model in _each(make):
        wrong = outside(layout)
        for row in torch.arange(0, len(wrong), 1 + len(wrong) // 25).tolist():
            bad = ArchitectureBatch.cat([complete_graphs(layout)[:1], wrong[row : row + 1]])
            what = f"a graph outside layout {name!r}: {wrong.ops[row].tolist()}"
            _assert_refuses(f"encode, {what}", model.encode, bad)
            _assert_refuses(f"loss, {what}", model.loss, bad, rng=stream(0, "loss"))


def check_refuses_points(make: Make) -> None:
    """Latent points of another size, or not finite, raise a ValueError of one line."""
    for _, _, model in _each(make):
        size = model.latent_size
        bad = [torch.zeros(2, size + 1), torch.zeros(2, size - 1)]
        bad += [torch.zeros(2, size).index_fill(1, torch.tensor([0]), x) for x in _NOT_FINITE]
        for latent in bad:
            what = f"decode, points {latent.tolist()}"
            _assert_refuses(what, model.decode, latent, rng=stream(0, "decode"))


def check_decode(make: Make) -> None:
    """Every point, however far out, gives a complete graph of the layout; padding is cleared."""
    for name, layout, model in _each(make):
        for n in (0, 1, 100):
            latent = 3 * torch.randn(n, model.latent_size, generator=stream(n, "points"))
            for mode in (False, True):
                archs = model.decode(latent, rng=stream(0, "decode"), mode=mode)
                assert len(archs) == n, f"{len(archs)} graphs at {n} points"
                assert archs.max_nodes == layout.max_nodes, "graphs are padded to `max_nodes`"
                inside = complete(archs, layout)
                assert inside.all(), f"not a graph of layout {name!r}: {archs[~inside].ops}"
                assert not archs.ops[~archs.node_mask].any(), "operations in the padding"
                cleared = ArchitectureBatch.masked(archs.ops, archs.adj, archs.num_nodes)
                assert torch.equal(cleared.adj, archs.adj), "edges in the padding"


def check_decode_chance(make: Make) -> None:
    """One stream gives one result, another gives another; at ``mode`` no stream matters."""
    for name, layout, model in _each(make):
        latent = torch.randn(30, model.latent_size, generator=stream(0, "points"))
        streams = (stream(1, "decode"), stream(1, "decode"), stream(2, "decode"))
        drawn = [model.decode(latent, rng=rng) for rng in streams]
        assert drawn[0].equal(drawn[1]).all(), "one seed gave two results: use `rng` for all chance"
        if len(complete_graphs(layout)) > 10 and not getattr(model, "deterministic", False):
            assert not drawn[0].equal(drawn[2]).all(), "`decode` does not use its `rng`"
        likeliest = [model.decode(latent, rng=stream(seed, "decode"), mode=True) for seed in (1, 2)]
        assert likeliest[0].equal(likeliest[1]).all(), f"`mode` depends on `rng` on {name!r}"


def check_decode_one_by_one(make: Make) -> None:
    """At ``mode``, a batch gives what its points give alone, in order."""
    for name, _, model in _each(make):
        latent = torch.randn(15, model.latent_size, generator=stream(0, "points"))
        rng = stream(0, "decode")
        alone = [model.decode(latent[i : i + 1], rng=rng, mode=True) for i in range(len(latent))]
        together = model.decode(latent, rng=rng, mode=True)
        same = ArchitectureBatch.cat(alone).equal(together).all()
        assert same, f"points alone give other graphs on layout {name!r}"


def check_draws(make: Make) -> None:
    """Many draws at one point are counted, and distributed like single ones (chi-square test)."""
    for name, layout, model in _each(make, noise=1.0):  # so that the point matters
        points = 2 * torch.randn(3, model.latent_size, generator=stream(0, "points"))
        drawn, again = (draw_counts(model, points, draws=_DRAWS, rng=stream(0, "x")) for _ in "ab")
        assert drawn.archs.equal(again.archs).all(), "one seed gave two results"
        assert torch.equal(drawn.count, again.count), "one seed gave two results"
        inside = complete(drawn.archs, layout)
        assert inside.all(), f"not a graph of layout {name!r}: {drawn.archs[~inside].ops}"
        for i in range(len(points)):
            mine = drawn.point == i
            total = int(drawn.count[mine].sum())
            assert total == _DRAWS, f"{total} of {_DRAWS} draws at a point are counted"
            alone = points[i : i + 1].expand(_DRAWS, -1)
            single = draw_counts(model, alone, draws=1, rng=stream(i, "alone")).archs
            many = drawn.archs[mine.nonzero()[:, 0].repeat_interleave(drawn.count[mine])]
            what = f"many draws at a point and single ones differ on layout {name!r}"
            _assert_alike(many, single, complete_graphs(layout), what)


def check_prior(make: Make) -> None:
    """`sample` decodes points of the standard normal distribution (chi-square test)."""
    for name, layout, model in _each(make, noise=1.0):  # so that the point matters
        rng = stream(0, "prior")
        latent = torch.randn(_DRAWS, model.latent_size, generator=rng)
        _assert_alike(
            model.sample(_DRAWS, rng=rng),
            model.decode(latent, rng=rng),
            complete_graphs(layout),
            f"samples and decoded points of the prior differ on layout {name!r}",
        )


def check_latent_global_rng(make: Make) -> None:
    """The global random state is left alone."""
    before = torch.get_rng_state()
    for _, layout, model in _each(make):
        archs = _some(layout)
        mean, _ = model.encode(archs)
        model.decode(mean.detach(), rng=stream(0, "decode"))
        model.loss(archs, rng=stream(0, "loss"))
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"


def check_loss(make: Make) -> None:
    """The loss is a finite number that ``rng`` decides; gradients are finite, and reach all."""
    for name, layout, model in _each(make):
        archs = _some(layout)
        loss = model.loss(archs, rng=stream(0, "loss"))
        assert loss.shape == (), f"a loss of shape {tuple(loss.shape)}"
        assert loss.isfinite(), f"the loss is not finite on layout {name!r}"
        again = model.loss(archs, rng=stream(0, "loss"))
        assert torch.equal(loss, again), "one seed gave two losses: use `rng` for all chance"
        loss.backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), f"gradient of {key} on layout {name!r}"
            else:
                assert name != "cell", f"{key} has no gradient on layout {name!r}"
        mean, log_variance = model.encode(archs)
        for value in (mean, log_variance):
            assert value.requires_grad, "no gradient reaches the encoder from a predictor"


def check_loss_one_by_one(make: Make) -> None:
    """Without noise, the loss of a batch is the mean of its graphs' losses."""
    for name, layout, model in _each(make):
        if not hasattr(model, "noise"):
            return
        model.noise = 0.0
        model.eval()
        archs = _some(layout)
        rng = stream(0, "loss")
        alone = [model.loss(archs[i : i + 1], rng=rng) for i in range(len(archs))]
        got = model.loss(archs, rng=rng)
        _assert_close(got, torch.stack(alone).mean(), f"losses alone, on layout {name!r}")


def check_learns(make: Make) -> None:
    """Adam lowers the loss; then most graphs are decoded from their own encodings.

    Of either layout a quarter at least: some models learn edges slowly.
    """
    shares = []
    for name, layout, model in _each(make):
        if name not in ("cell", "fixed edges"):
            continue
        archs = _plain(layout)[:_FEW]
        optimizer = torch.optim.Adam([p for _, p in model.named_parameters()], lr=5e-3)
        losses = []
        for step in range(_STEPS):
            optimizer.zero_grad()
            loss = model.loss(archs, rng=stream(step, "loss"))
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
        assert last < 0.8 * first, f"{_STEPS} steps: {first:.3f} -> {last:.3f} on layout {name!r}"
        mean, _ = model.encode(archs)
        again = model.decode(mean.detach(), rng=stream(0, "decode"), mode=True)
        share = float(again.equal(archs).double().mean())
        assert share >= 0.25, f"{share:.0%} of {len(archs)} graphs come back on layout {name!r}"
        shares.append(share)
    average = sum(shares) / len(shares)
    assert average > 0.5, f"{average:.0%} of the graphs come back"


def check_latent_state(make: Make) -> None:
    """A generator given another's `state_dict`, after training, encodes and decodes like it."""
    for name, layout, model in _each(make):
        archs = _some(layout)
        for step in range(2):  # running statistics, if any, are state too
            model.loss(archs, rng=stream(step, "loss"))
        other = make(layout, rng=stream(99, "another"))
        assert isinstance(other, Autoencoder)
        other.load_state_dict({key: value.clone() for key, value in model.state_dict().items()})
        mean, _ = model.encode(archs)
        _assert_close(mean, other.encode(archs)[0], f"a restored generator on layout {name!r}")
        one, two = (x.decode(mean.detach(), rng=stream(0, "decode")) for x in (model, other))
        assert one.equal(two).all(), f"decoding is not restored on layout {name!r}"


def check_initial_parameters(make: Make) -> None:
    """Initial parameters are drawn from ``rng``, all of them, and from nothing else."""
    for _, layout, _ in _each(make):
        first, same, other = (
            dict(make(layout, rng=stream(seed, "x")).named_parameters()) for seed in (1, 1, 2)
        )
        differs = False
        for key, value in first.items():
            assert torch.equal(value, same[key]), f"one seed gave two initial values of {key}"
            differs |= not torch.equal(value, other[key])
        assert differs, "initial parameters are not drawn from `rng`"


#: Every check, by name.
LATENT_CHECKS: dict[str, Check] = {
    "protocol": check_latent_protocol,
    "encode": check_encode,
    "encode one by one": check_encode_one_by_one,
    "encode, padding": check_encode_padding,
    "refuses graphs": check_refuses_graphs,
    "refuses points": check_refuses_points,
    "decode": check_decode,
    "decode, chance": check_decode_chance,
    "decode one by one": check_decode_one_by_one,
    "draws": check_draws,
    "prior": check_prior,
    "global rng": check_latent_global_rng,
    "loss": check_loss,
    "loss one by one": check_loss_one_by_one,
    "learns": check_learns,
    "state": check_latent_state,
    "initial parameters": check_initial_parameters,
}

_NOT_FINITE = (float("nan"), float("inf"))


def check_latent(make: Make) -> None:
    """Run all checks.

    Raises:
        AssertionError: At the first check that fails, with what is wrong.
    """
    for check in LATENT_CHECKS.values():
        check(make)


def _each(make: Make, noise: float = _NOISE) -> Iterator[tuple[str, Layout, Autoencoder]]:
    """The generator on each layout that it accepts, its parameters moved by a little noise."""
    for name, layout in LAYOUTS.items():
        model, refusal = _attempt(make, layout, rng=stream(0, "generator"))
        if refusal is not None:
            assert name not in REQUIRED, f"layout {name!r} must be possible: {refusal}"
            continue
        assert isinstance(model, Autoencoder), "a generator with a latent space is a `HasLatent`"
        rng = stream(0, "noise")
        with torch.no_grad():
            for _, parameter in model.named_parameters():
                parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=noise)
        yield name, layout, model


def _some(layout: Layout) -> ArchitectureBatch:
    """At most 24 complete graphs of the layout, of all kinds, in a mixed order."""
    archs = complete_graphs(layout)
    order = torch.randperm(len(archs), generator=stream(0, "order"))
    return archs[order[:24]]


def _plain(layout: Layout) -> ArchitectureBatch:
    """Graphs that any encoder can tell apart: no two isomorphic, no operation twice, connected."""
    archs = complete_graphs(layout)
    ops = archs.ops.masked_fill(~archs.node_mask, -1).sort(dim=1).values
    once = ((ops[:, 1:] != ops[:, :-1]) | (ops[:, 1:] < 0)).all(dim=1)
    archs = archs[once & (from_first(archs) | ~archs.node_mask).all(dim=1)]
    archs = archs[hashing.first_of_each(hashing.keys(archs))]
    return archs[torch.randperm(len(archs), generator=stream(0, "order"))]


def _attempt(
    call: Callable[..., object], *args: object, **options: object
) -> tuple[object, str | None]:
    """What a call returns, or what it says when it raises a ValueError."""
    try:
        return call(*args, **options), None
    except ValueError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1, f"an error is one line, not {refusal}"
    return None, refusal


def _assert_refuses(
    what: str, call: Callable[..., object], *args: object, **options: object
) -> None:
    _, refusal = _attempt(call, *args, **options)
    assert refusal is not None, f"{what}: must raise a ValueError"


def _assert_alike(
    one: ArchitectureBatch, other: ArchitectureBatch, everything: ArchitectureBatch, what: str
) -> None:
    """Compare how often two samples of one size have each graph; rare ones count together."""
    counts = torch.stack([_counts(one, everything), _counts(other, everything)]).double()
    rare = counts.sum(dim=0) < 10
    counts = torch.cat([counts[:, ~rare], counts[:, rare].sum(dim=1, keepdim=True)], dim=1)
    counts = counts[:, counts.sum(dim=0) > 0]
    statistic = ((counts[0] - counts[1]).square() / counts.sum(dim=0)).sum()
    freedom = max(counts.shape[1] - 1, 1)
    chance = torch.special.gammaincc(torch.tensor(freedom / 2).double(), statistic / 2)
    assert chance > _SIGNIFICANCE, f"{what}: chi-square {float(statistic):.1f} ({freedom})"


def _counts(archs: ArchitectureBatch, everything: ArchitectureBatch) -> Tensor:
    """How often each of all graphs of a layout is in a sample."""
    joint = ArchitectureBatch.cat([everything, archs])
    rows = torch.cat([joint.ops, joint.adj.flatten(1), joint.num_nodes[:, None]], dim=1)
    _, which = rows.unique(dim=0, return_inverse=True)
    count: Tensor = which.bincount(minlength=len(everything)) - 1
    return count


def _assert_close(one: Tensor, other: Tensor, what: str) -> None:
    assert torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-4), f"{what}: differ"
