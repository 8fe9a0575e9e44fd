"""The contract of generators, as checks to run on your own.

::

    from netwright.testing.generators import GENERATOR_CHECKS

    @pytest.mark.parametrize("check", GENERATOR_CHECKS.values(), ids=GENERATOR_CHECKS.keys())
    def test_my_generator(check):
        check(lambda layout, *, rng: MyGenerator(layout, rng=rng))

The checks run on layouts so small that all their graphs can be listed. Those of `log_prob` apply
to generators that have it, that of the temperature to generators whose `sample` takes one.
"""

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from netwright.generators.base import Generator, HasLogProb
from netwright.generators.relaxed import Differentiable
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream

#: Samples drawn for a comparison of frequencies.
_DRAWS = 4000
#: A correct generator fails a comparison of frequencies this often, per layout.
_SIGNIFICANCE = 1e-6
#: Standard deviation of the noise added to parameters: fresh ones are nearly uniform, and a
#: uniform distribution hides mistakes.
_NOISE = 0.3


@runtime_checkable
class Make(Protocol):
    """Makes a generator, always the same one for the same ``rng``."""

    def __call__(self, layout: Layout, *, rng: torch.Generator) -> Generator:
        """Return a generator over ``layout`` whose initial parameters are drawn from ``rng``."""
        ...


Check = Callable[[Make], None]


def _mixed() -> Layout:
    """A forced, a forbidden and four free pairs; the end may come at the third node."""
    layout = Layout.make(4, 4, allowed_ops=[[0, 1], [1, 2], [0, 2, 3], [1, 3]], end_op=3)
    layout.free[0, 1], layout.forced[0, 1] = False, True
    layout.free[0, 3] = False
    return layout


def _chain() -> Layout:
    """The pairs of a chain are forced, skips are free (as in ENAS)."""
    layout = Layout.make(4, 2)
    chain = torch.zeros_like(layout.free)
    chain[[0, 1, 2], [1, 2, 3]] = True
    return Layout(4, 2, layout.allowed_ops, layout.free & ~chain, chain)


#: The layouts of the checks, by name; all their graphs can be listed.
LAYOUTS: dict[str, Layout] = {
    "one node": Layout.make(1, 3),
    "free": Layout.make(3, 2),
    "free, with an end": Layout.make(3, 3, end_op=2),
    "cell": Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3),
    "chain": _chain(),
    "fixed edges": Layout.make(
        4, 5, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [4]], edges=[(0, 1), (0, 2), (1, 3), (2, 3)]
    ),
    "mixed": _mixed(),
}


def complete_graphs(layout: Layout) -> ArchitectureBatch:
    """List every complete graph of a small layout once, by brute force.

    ``max_edges`` and ``connected`` are ignored: they are left to rejection.
    """
    graphs = list(_extensions(layout, [], []))
    archs = ArchitectureBatch(
        torch.zeros(len(graphs), layout.max_nodes, dtype=torch.long),
        torch.zeros(len(graphs), layout.max_nodes, layout.max_nodes, dtype=torch.bool),
        torch.tensor([len(ops) for ops, _ in graphs]),
    )
    for row, (ops, columns) in enumerate(graphs):
        archs.ops[row, : len(ops)] = torch.tensor(ops)
        for target, column in enumerate(columns):
            archs.adj[row, :target, target] = torch.tensor(column, dtype=torch.bool)
    return archs


def outside(layout: Layout) -> ArchitectureBatch:
    """List graphs that are almost complete graphs of ``layout``, one thing wrong with each."""
    good = complete_graphs(layout)
    size = layout.max_nodes
    wrong = [ArchitectureBatch(good.ops + layout.num_ops, good.adj, good.num_nodes)]
    for node in range(size):
        for op in (~layout.allowed_ops[node]).nonzero()[:, 0].tolist():
            ops = good.ops.clone()
            ops[:, node] = op
            wrong.append(ArchitectureBatch(ops, good.adj, good.num_nodes)[good.num_nodes > node])
    for source, target in (~layout.free).triu(diagonal=1).nonzero().tolist():
        adj = good.adj.clone()
        adj[:, source, target] = ~layout.forced[source, target]
        wrong.append(ArchitectureBatch(good.ops, adj, good.num_nodes)[good.num_nodes > target])
    longer = good.pad(size + 1)
    wrong.append(ArchitectureBatch(longer.ops, longer.adj, longer.num_nodes + 1))
    if layout.end_op is None:
        wrong.append(ArchitectureBatch.masked(good.ops, good.adj, good.num_nodes - 1))
    else:
        full = good[good.num_nodes == size]
        for node in range(size - 1):  # an end before the last node
            ops = full.ops.clone()
            ops[:, node] = layout.end_op
            wrong.append(ArchitectureBatch(ops, full.adj, full.num_nodes))
        early = good[good.num_nodes > 1]  # no end at all
        wrong.append(ArchitectureBatch.masked(early.ops, early.adj, early.num_nodes - 1))
    return ArchitectureBatch.cat(wrong)


def check_protocol(make: Make) -> None:
    """A generator is a `Generator` and knows its layout."""
    for layout, generator in _each(make):
        assert isinstance(generator, Generator), "a generator derives from `Generator`"
        assert generator.layout is layout, "`layout` must be the layout the generator was given"


def check_complete(make: Make) -> None:
    """Samples are complete graphs of the layout, as many as asked for, padding cleared."""
    for layout, generator in _each(make):
        everything = complete_graphs(layout)
        for n in (0, 1, 300):
            archs = generator.sample(n, rng=stream(n, "sample"))
            assert len(archs) == n, f"{len(archs)} samples for {n} asked"
            assert archs.max_nodes == layout.max_nodes, "samples are padded to `max_nodes`"
            assert not archs.ops[~archs.node_mask].any(), "operations in the padding"
            _places(archs, everything)


def check_repeatable(make: Make) -> None:
    """Equal random streams give equal samples, and an equal generator."""
    for layout, generator in _each(make):
        again = _perturbed(make(layout, rng=stream(0, "generator")))
        first = generator.sample(20, rng=stream(1, "sample"))
        for other in (generator, again):
            same = first.equal(other.sample(20, rng=stream(1, "sample"))).all()
            assert same, "one seed gave two samples: use `rng` for all chance"


def check_rng_is_used(make: Make) -> None:
    """Other random streams give other samples and other initial parameters."""
    for layout, generator in _each(make):
        if len(complete_graphs(layout)) < 10:
            continue
        samples = [generator.sample(20, rng=stream(seed, "sample")) for seed in (1, 2)]
        assert not samples[0].equal(samples[1]).all(), "`sample` does not use its `rng`"
        rng = stream(3, "sample")
        twice = [generator.sample(20, rng=rng) for _ in range(2)]
        assert not twice[0].equal(twice[1]).all(), "`sample` does not advance its `rng`"
        starts = [dict(make(layout, rng=stream(s, "x")).named_parameters()) for s in (1, 2)]
        if starts[0]:
            differ = any(not torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
            assert differ, "initial parameters are not drawn from `rng`"


def check_global_rng(make: Make) -> None:
    """The global random state is left alone."""
    before = torch.get_rng_state()
    for _, generator in _each(make):
        archs = generator.sample(5, rng=stream(0, "sample"))
        if isinstance(generator, HasLogProb):
            generator.log_prob(archs)
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"


def check_state(make: Make) -> None:
    """A generator given another's `state_dict` is that generator."""
    for layout, generator in _each(make):
        other = make(layout, rng=stream(99, "another"))
        state = {name: value.clone() for name, value in generator.state_dict().items()}
        other.load_state_dict(state)
        archs = generator.sample(50, rng=stream(0, "sample"))
        same = archs.equal(other.sample(50, rng=stream(0, "sample"))).all()
        assert same, "the samples are not restored"
        if isinstance(generator, HasLogProb) and isinstance(other, HasLogProb):
            _assert_close(generator.log_prob(archs), other.log_prob(archs), "a restored generator")


def check_sums_to_one(make: Make) -> None:
    """The probabilities of all complete graphs sum to 1 within 1e-4."""
    for name, layout, generator in _each_with_log_prob(make):
        total = float(generator.log_prob(complete_graphs(layout)).detach().double().exp().sum())
        assert abs(total - 1) < 1e-4, f"probabilities sum to {total:.6f} on layout {name!r}"


def check_frequencies(make: Make) -> None:
    """Samples are as frequent as `log_prob` says (chi-square test)."""
    for name, layout, generator in _each_with_log_prob(make):
        assert isinstance(generator, Generator)
        everything = complete_graphs(layout)
        archs = generator.sample(_DRAWS, rng=stream(0, "frequencies"))
        with torch.no_grad():
            expected = generator.log_prob(everything).double().exp()
        _assert_frequencies(archs, everything, expected, f"layout {name!r}")


def check_outside(make: Make) -> None:
    """Graphs that are not complete graphs of the layout have probability 0, all others more."""
    for name, layout, generator in _each_with_log_prob(make):
        inside = generator.log_prob(complete_graphs(layout))
        assert inside.isfinite().all(), f"complete graphs of probability 0 on layout {name!r}"
        wrong = outside(layout)
        finite = generator.log_prob(wrong) != -torch.inf
        assert not finite.any(), f"graphs outside layout {name!r} have a probability: {wrong.ops}"


def check_one_by_one(make: Make) -> None:
    """A batch gives what its graphs give alone, in order; graphs outside do not disturb it."""
    for name, layout, generator in _each_with_log_prob(make):
        archs = complete_graphs(layout)
        archs = archs[torch.arange(0, len(archs), 1 + len(archs) // 20)].pad(layout.max_nodes + 1)
        archs = ArchitectureBatch.cat([archs, outside(layout)])
        archs = archs[torch.randperm(len(archs), generator=stream(0, "order"))[:12]]
        alone = torch.cat([generator.log_prob(archs[i : i + 1]) for i in range(len(archs))])
        _assert_close(generator.log_prob(archs), alone, f"graphs alone, on layout {name!r}")
        nothing = generator.log_prob(archs[:0])
        assert nothing.shape == (0,), f"no graphs, but {tuple(nothing.shape)} probabilities"


def check_padding(make: Make) -> None:
    """Padding does not matter: neither less of it nor more."""
    for name, layout, generator in _each_with_log_prob(make):
        archs = complete_graphs(layout)
        expected = generator.log_prob(archs)
        for size in range(1, layout.max_nodes + 3):
            fits = archs.num_nodes <= size
            if fits.any():
                got = generator.log_prob(archs[fits].pad(size))
                _assert_close(got, expected[fits], f"padding to {size}, on layout {name!r}")


def check_gradients(make: Make) -> None:
    """Gradients are finite, and a step along them makes the graphs more likely."""
    for name, layout, generator in _each_with_log_prob(make):
        assert isinstance(generator, Generator)
        if len(complete_graphs(layout)) < 2:
            continue
        good = complete_graphs(layout)[:3]
        log_prob = generator.log_prob(ArchitectureBatch.cat([good, outside(layout)]))
        before = log_prob[: len(good)].sum()
        before.backward()
        norm = 0.0
        for parameter in generator.parameters():
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), f"gradient not finite on layout {name!r}"
                norm += float(parameter.grad.double().square().sum())
        assert norm > 0, f"no gradient on layout {name!r}"
        with torch.no_grad():
            for parameter in generator.parameters():
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=1e-3 * norm**-0.5)
            after = generator.log_prob(good).sum()
        assert after > before, f"a step along the gradient lowers log_prob on layout {name!r}"


def check_temperature(make: Make) -> None:
    """A high temperature makes every choice uniform; a low one always makes the same graph."""
    for layout, generator in _each(make):
        if "temperature" not in inspect.signature(generator.sample).parameters:
            return
        plain = generator.sample(20, rng=stream(0, "temperature"))
        one = _sample_at(generator, 20, 1.0)
        assert plain.equal(one).all(), "temperature 1 must change nothing"
        for bad in (0.0, -1.0):
            try:
                _sample_at(generator, 1, bad)
            except ValueError:
                continue
            raise AssertionError(f"a temperature of {bad} must raise a ValueError")
        if isinstance(generator, Differentiable):
            continue  # its choices depend on noise besides, and what is on no path is removed
        everything = complete_graphs(layout)
        cold = _sample_at(generator, 20, 1e-6)
        same = cold.equal(cold[torch.zeros(20, dtype=torch.long)])
        assert same.all(), "at a low temperature, all samples must be the likeliest choices"
        flat = _uniform_choices(everything, layout)
        _assert_frequencies(
            _sample_at(generator, _DRAWS, 1e6), everything, flat, "a high temperature"
        )


#: Every check, by name.
GENERATOR_CHECKS: dict[str, Check] = {
    "protocol": check_protocol,
    "complete": check_complete,
    "repeatable": check_repeatable,
    "rng is used": check_rng_is_used,
    "global rng": check_global_rng,
    "state": check_state,
    "sums to one": check_sums_to_one,
    "frequencies": check_frequencies,
    "outside": check_outside,
    "one by one": check_one_by_one,
    "padding": check_padding,
    "gradients": check_gradients,
    "temperature": check_temperature,
}


def check_generator(make: Make) -> None:
    """Run all checks.

    Raises:
        AssertionError: At the first check that fails, with what is wrong.
    """
    for check in GENERATOR_CHECKS.values():
        check(make)


def _extensions(
    layout: Layout, ops: list[int], columns: list[list[bool]]
) -> Iterator[tuple[list[int], list[list[bool]]]]:
    """All complete graphs that begin with these nodes and their incoming edges."""
    node = len(ops)
    if ops and (ops[-1] == layout.end_op or node == layout.max_nodes):
        yield ops, columns
        return
    options = [
        [False, True] if layout.free[i, node] else [bool(layout.forced[i, node])]
        for i in range(node)
    ]
    for op in layout.allowed_ops[node].nonzero()[:, 0].tolist():
        for column in product(*options):
            yield from _extensions(layout, [*ops, op], [*columns, list(column)])


def _uniform_choices(archs: ArchitectureBatch, layout: Layout) -> Float[Tensor, " batch"]:
    """The probability of each graph if every operation and edge were a fair choice."""
    ops = layout.allowed_ops.sum(dim=1).double() * archs.node_mask
    pairs = layout.free.sum(dim=0) * archs.node_mask
    return 1 / (ops.clamp(min=1).prod(dim=1) * 2.0 ** pairs.sum(dim=1))


def _each(make: Make) -> Iterator[tuple[Layout, Generator]]:
    for layout in LAYOUTS.values():
        yield layout, _perturbed(make(layout, rng=stream(0, "generator")))


def _each_with_log_prob(make: Make) -> Iterator[tuple[str, Layout, HasLogProb]]:
    for name, (layout, generator) in zip(LAYOUTS, _each(make), strict=True):
        if isinstance(generator, HasLogProb):
            yield name, layout, generator


def _perturbed(generator: Generator) -> Generator:
    rng = stream(0, "noise")
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=_NOISE)
    return generator


def _sample_at(generator: Generator, n: int, temperature: float) -> ArchitectureBatch:
    rng = stream(0, "temperature")
    return generator.sample(n, rng=rng, temperature=temperature)  # type: ignore[call-arg]  # it has one, says its signature


def _codes(archs: ArchitectureBatch) -> list[tuple[object, ...]]:
    fields = zip(archs.ops.tolist(), archs.adj.tolist(), archs.num_nodes.tolist(), strict=True)
    return [(tuple(ops[:n]), n, tuple(tuple(row) for row in adj)) for ops, adj, n in fields]


def _places(archs: ArchitectureBatch, everything: ArchitectureBatch) -> list[int]:
    """Where each graph stands in the list of all."""
    place = {code: i for i, code in enumerate(_codes(everything))}
    codes = _codes(archs)
    for code in codes:
        assert code in place, f"not a complete graph of the layout: {code}"
    return [place[code] for code in codes]


def _assert_frequencies(
    archs: ArchitectureBatch,
    everything: ArchitectureBatch,
    expected: Float[Tensor, " graph"],
    what: str,
) -> None:
    """Compare counts with probabilities; graphs expected fewer than five times count together."""
    count = torch.bincount(torch.tensor(_places(archs, everything)), minlength=len(everything))
    expected = expected * len(archs)
    rare: Bool[Tensor, " graph"] = expected < 5
    observed = torch.cat([count[~rare].double(), count[rare].sum(dim=0, keepdim=True).double()])
    wanted = torch.cat([expected[~rare], expected[rare].sum(dim=0, keepdim=True)])
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    statistic = ((observed - wanted).square() / wanted).sum()
    freedom = len(wanted) - 1
    chance = torch.special.gammaincc(torch.tensor(max(freedom, 1) / 2).double(), statistic / 2)
    assert chance > _SIGNIFICANCE, (
        f"samples do not follow the probabilities on {what}: chi-square {float(statistic):.1f} "
        f"with {freedom} degrees of freedom, which chance exceeds with {float(chance):.1e}"
    )


def _assert_close(one: Float[Tensor, " batch"], other: Float[Tensor, " batch"], what: str) -> None:
    same = torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-4)
    assert same, f"{what}: log-probabilities differ"
