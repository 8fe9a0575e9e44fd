"""Training a generator: what a step does, and that a fit goes on as if it had never stopped."""

import copy
import math
from functools import partial
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netwright.generators import fit as module
from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.base import Generator
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.fit import Fit, Recipe, load_parameters, loss_of
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.generators.svge import SVGe
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.toy import Toy

SPACE = Toy()
ARCHS = SPACE.enumerate()
TRAIN, VALID = ARCHS[:23], ARCHS[23:]
MAKERS = {
    "svge": partial(SVGe, hidden=8, latent_size=3, rounds=1),
    "dgmg": partial(dgmg, hidden=8, latent_size=3, rounds=1),
    "dvae": partial(DVAE, hidden=6, latent_size=3),
    "arch2vec": partial(Arch2Vec, hidden=8, node_latent=2, layers=2),
    "graphpnas": partial(GraphPNAS, hidden=8, rounds=1, mixtures=2),
}
RECIPE = Recipe(100, batch_size=7, learning_rate=0.01, period=17, warmup=20, clip=0.5)


class Linear(Generator):
    """Notes what it is asked for; the loss of a batch is what the test says."""

    def __init__(self, layout=SPACE.layout, *, loss=None, size=4):
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.linspace(-1, 1, size))
        self.batches, self.noise, self.modes = [], [], []
        self.calls = 0
        self._loss = loss or (lambda self, _: self.weight.square().sum())

    def sample(self, n, *, rng):
        return SPACE.sample(n, rng=rng)

    def loss(self, archs, *, rng):
        if self.training:
            self.batches.append(SPACE.to_text(archs))
            self.noise.append(float(torch.rand((), generator=rng)))
        self.modes.append(self.training)
        value = self._loss(self, archs)
        self.calls += self.training
        return value


def make(name, seed=0):
    return MAKERS[name](SPACE.layout, rng=stream(seed, "init"))


def begin(generator, recipe=RECIPE, *, train=TRAIN, valid=VALID, seed=5):
    return Fit(generator, train, valid, recipe, seed=seed)


def finish(fit):
    return [record for record in fit.run() if record is not None]


def go(fit, steps):
    """Take so many steps and walk away."""
    events = fit.run()
    for _ in range(steps):
        next(events)
    events.close()


def everything(fit):
    """All that a fit has come to but the time it took, ready to be compared bit for bit."""
    state = copy.deepcopy(fit.state_dict())
    for record in state["history"]:
        del record["seconds"]
    del state["sums"][1]
    tensors = {f"generator {name}": value for name, value in state.pop("generator").items()}
    for i, moments in state.pop("optimiser").items():
        tensors |= {f"optimiser {i} {name}": value for name, value in moments.items()}
    return tensors, state


def assert_same(one, other):
    (tensors, rest), (tensors2, rest2) = everything(one), everything(other)
    assert rest == rest2
    assert tensors.keys() == tensors2.keys()
    differ = [name for name in tensors if not torch.equal(tensors[name], tensors2[name])]
    assert not differ


# Training


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_every_generator_learns(name):
    recipe = Recipe(80 * 6, batch_size=6, learning_rate=0.02, schedule="cosine")
    fit = begin(make(name), recipe, train=TRAIN[:6])
    records = finish(fit)
    assert fit.finished
    assert records == fit.history
    assert records[-1].train < 0.8 * records[0].train
    assert all(math.isfinite(record.train + record.valid) for record in records)
    latent = name != "graphpnas"
    assert all((record.reconstruction is not None) == latent for record in records)
    assert not fit.generator.training


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_decides_everything(name):
    fits = [begin(make(name), seed=seed) for seed in (1, 1, 2)]
    for fit in fits:
        finish(fit)
    assert_same(fits[0], fits[1])
    with pytest.raises(AssertionError):
        assert_same(fits[0], fits[2])


def test_the_loss_is_the_generators_or_minus_the_mean_log_likelihood():
    generator = make("graphpnas")
    loss = loss_of(generator)(TRAIN, stream(0, "unused"))
    assert torch.equal(loss, -generator.log_prob(TRAIN).mean())
    svge = make("svge")
    left, right = loss_of(svge)(TRAIN, stream(0, "x")), svge.loss(TRAIN, rng=stream(0, "x"))
    assert torch.equal(left, right)
    with pytest.raises(ValueError, match="RandomGraph has no loss to fit"):
        loss_of(RandomGraph(SPACE.layout))


def test_nothing_to_learn():
    with pytest.raises(ValueError, match="there are no graphs to learn"):
        begin(Linear(), train=ARCHS[:0])


@pytest.mark.parametrize("name", MAKERS)
def test_the_global_random_state_and_precision_are_untouched(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit = begin(make(name))
    assert torch.get_float32_matmul_precision() == "highest"
    seen = []
    for _ in fit.run():
        seen.append(torch.get_float32_matmul_precision())
        assert torch.equal(torch.get_rng_state(), before)
    assert set(seen) == {"highest"}


@pytest.mark.parametrize(("precision", "during"), [("float32", "highest"), ("tf32", "high")])
def test_the_precision_holds_during_a_step_and_is_restored(precision, during):
    found = []

    def loss(generator, _):
        found.append(torch.get_float32_matmul_precision())
        if generator.calls == 2:
            raise OSError("something else")
        return generator.weight.square().sum()

    torch.set_float32_matmul_precision("medium")
    try:
        fit = begin(Linear(loss=loss), Recipe(30, batch_size=7, precision=precision))
        with pytest.raises(OSError, match="something else"):
            finish(fit)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found == [during] * 3
    assert not fit.generator.training


# The order of graphs


def test_each_epoch_sees_every_graph_once_in_another_order():
    generator = Linear()
    finish(begin(generator, Recipe(3 * 23, batch_size=7)))
    assert [len(batch) for batch in generator.batches] == [7, 7, 7, 2] * 3
    epochs = [list(chain(*generator.batches[i : i + 4])) for i in (0, 4, 8)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(SPACE.to_text(TRAIN))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert SPACE.to_text(TRAIN) not in epochs


def test_every_step_has_noise_of_its_own_and_another_seed_another_order():
    one, other = Linear(), Linear()
    finish(begin(one, Recipe(46, batch_size=7), seed=1))
    finish(begin(other, Recipe(46, batch_size=7), seed=2))
    assert len(set(one.noise + other.noise)) == 16
    assert one.batches != other.batches


def test_a_batch_larger_than_the_data_is_the_data():
    generator = Linear()
    records = finish(begin(generator, Recipe(46, batch_size=100)))
    assert [len(batch) for batch in generator.batches] == [23, 23]
    assert [record.graphs for record in records] == [23, 46]


# Records


def test_a_record_at_the_end_of_each_period():
    fit = begin(Linear(), Recipe(100, batch_size=7, period=17))
    events = list(fit.run())
    seen, graphs = 0, []
    for event, size in zip(events, [7, 7, 7, 2] * 5, strict=False):
        seen += size
        if event is not None:
            assert event.graphs == seen
            graphs.append(seen)
    # 7 + 7 + 7 | 2 + 7 + 7 + 7 | 2 + 7 + 7 + 7 | ...; the last period ends with the fit.
    assert graphs == [21, 44, 67, 90, 106]
    assert fit.graphs == 106  # the step that reaches 100


def test_by_default_a_period_is_an_epoch():
    records = finish(begin(Linear(), Recipe(60, batch_size=7)))
    assert [record.graphs for record in records] == [23, 46, 60]


def test_a_record_holds_the_mean_of_the_period_weighted_by_graphs():
    def loss(generator, archs):
        value = float(generator.calls + 1) if generator.training else float(len(archs))
        return value + 0 * generator.weight.sum()

    records = finish(begin(Linear(loss=loss), Recipe(46, batch_size=10)))
    assert records[0].train == pytest.approx((10 * 1 + 10 * 2 + 3 * 3) / 23)
    assert records[1].train == pytest.approx((10 * 4 + 10 * 5 + 3 * 6) / 23)
    assert [record.valid for record in records] == [4.0, 4.0]
    assert [record.reconstruction for record in records] == [None, None]
    assert 0 < records[0].seconds < records[1].seconds


def test_validation_is_in_evaluation_mode_in_chunks_and_of_the_first_graphs(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 3)

    def loss(generator, archs):
        return archs.ops.float().sum() / len(archs) + 0 * generator.weight.sum()

    generator = Linear(loss=loss)
    records = finish(begin(generator, Recipe(23, batch_size=23, valid_graphs=10), valid=ARCHS))
    assert generator.modes == [True, False, False, False, False]
    assert records[0].valid == pytest.approx(float(ARCHS[:10].ops.sum()) / 10)
    records = finish(begin(Linear(), Recipe(23, valid_graphs=0)))
    assert (records[0].valid, records[0].reconstruction) == (None, None)


def test_reconstruction_is_the_share_of_graphs_that_come_back():
    fit = begin(make("svge"), valid=ARCHS)
    wanted = {1, 5, 20}

    def decode(latent, *, rng):
        del rng
        again = copy.deepcopy(ARCHS)
        changed = [i for i in range(len(latent)) if i not in wanted]
        again.ops[changed, 1] = (again.ops[changed, 1] + 1) % 3
        return again

    fit.generator.decode = decode
    assert next(record for record in fit.run() if record).reconstruction == 3 / 27


# The learning rate


def rates(recipe):
    """The learning rate of every step, as Adam sees it."""
    fit = begin(Linear(), recipe)
    return [fit._optimiser.param_groups[0]["lr"] for _ in fit.run()]


def test_a_warm_up_rises_from_zero():
    found = rates(Recipe(35, batch_size=7, learning_rate=0.6, schedule="constant", warmup=20))
    assert found == pytest.approx([0.6 * 7 / 20, 0.6 * 14 / 20, 0.6, 0.6, 0.6, 0.6])


def test_a_cosine_falls_to_zero():
    found = rates(Recipe(46, batch_size=23, learning_rate=0.5, schedule="cosine"))
    assert found == pytest.approx([0.25, 0.0])
    found = rates(Recipe(92, batch_size=23, learning_rate=1.0, schedule="cosine", warmup=23))
    assert found == pytest.approx([1.0, 0.75, 0.25, 0.0])
    # A last batch that goes beyond the end does not let it rise again.
    assert rates(Recipe(40, batch_size=23, schedule="cosine"))[-1] == 0


def test_a_constant_rate_is_constant():
    assert rates(Recipe(46, batch_size=7, learning_rate=0.3, schedule="constant")) == [0.3] * 8


@settings(max_examples=40, deadline=None)
@given(
    losses=st.lists(st.floats(0.01, 2.0) | st.sampled_from([1.0, 0.99995, 0.9]), max_size=24),
    patience=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5]),
)
def test_the_plateau_schedule_is_that_of_torch(losses, patience, factor):
    """With a warm-up of nothing and a step to a period, the k-th step has k - 1 losses behind."""

    def loss(generator, _):
        return losses[generator.calls] + 0 * generator.weight.sum()

    recipe = Recipe(
        23 * len(losses), 23, learning_rate=1.0, factor=factor, patience=patience, valid_graphs=0
    )
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=factor, patience=patience, eps=0
    )
    fit = begin(Linear(loss=loss), recipe)
    for record in fit.run():
        assert fit._optimiser.param_groups[0]["lr"] == optimiser.param_groups[0]["lr"]
        plateau.step(record.train)
        assert fit.rate == optimiser.param_groups[0]["lr"]


def test_other_schedules_do_not_heed_a_plateau():
    def loss(generator, _):
        return 1.0 + 0 * generator.weight.sum()

    for schedule in ("constant", "cosine"):
        fit = begin(Linear(loss=loss), Recipe(230, 23, 1.0, schedule=schedule, patience=0))
        finish(fit)
        assert fit.rate == 1.0


def test_the_gradient_is_clipped():
    def steep(generator, _):
        return 1e3 * generator.weight.sum()

    for clip, norm in ((0.5, 0.5), (None, 1e3 * 2)):
        generator = Linear(loss=steep)
        finish(begin(generator, Recipe(7, batch_size=7, clip=clip)))
        assert float(generator.weight.grad.norm()) == pytest.approx(norm, rel=1e-4)


def test_a_step_is_a_step_of_adam():
    """One step from zero moments moves every parameter by the learning rate, against its sign."""
    generator = Linear()
    before = generator.weight.detach().clone()
    finish(begin(generator, Recipe(1, learning_rate=0.01, schedule="constant")))
    assert torch.allclose(generator.weight, before - 0.01 * before.sign(), atol=1e-6)


# The end


def test_a_fit_ends_when_the_validation_loss_stops_to_fall():
    falls = [5.0, 4.0, 3.0, 3.0, 3.5, 2.0, 2.0, 2.5, 2.25, 1.0]

    def loss(generator, _):
        value = 0.0 if generator.training else falls[generator.calls - 1]
        return value + 0 * generator.weight.sum()

    recipe = Recipe(230, batch_size=23, stop_after=3)
    records = finish(fit := begin(Linear(loss=loss), recipe))
    assert [record.valid for record in records] == falls[:9]
    assert fit.finished
    assert fit.finished_in(fit.state_dict())
    assert list(fit.run()) == []
    assert len(finish(begin(Linear(loss=loss), Recipe(230, batch_size=23)))) == 10


def test_without_validation_graphs_a_fit_never_stops_early():
    recipe = Recipe(230, batch_size=23, stop_after=1)
    assert len(finish(begin(Linear(), recipe, valid=ARCHS[:0]))) == 10


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_fit_before_the_step(value):
    def loss(generator, _):
        return (value if generator.calls == 2 else 1.0) * generator.weight.square().sum()

    fit = begin(Linear(loss=loss), Recipe(100, batch_size=7))
    go(fit, 2)
    before = everything(fit)
    with pytest.raises(
        RuntimeError, match=r"after 14 graphs: try a smaller learning rate"
    ) as error:
        finish(fit)
    assert "\n" not in str(error.value)
    after = everything(fit)
    assert before[1] == after[1]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert bool(fit.generator.weight.isfinite().all())
    assert not fit.generator.training


# Going on


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "steps", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8, 14))]
)
def test_a_fit_goes_on_as_if_it_had_not_stopped(name, steps):
    """After a step, at the end of a period (3), of an epoch (8), in the middle of both."""
    undisturbed = begin(make(name))
    finish(undisturbed)
    first = begin(make(name))
    go(first, steps)
    state = copy.deepcopy(first.state_dict())
    second = begin(make(name, seed=9))  # other initial parameters: all must come from the state
    second.load_state_dict(state)
    assert_same(first, second)
    finish(second)
    assert_same(second, undisturbed)
    finish(first)
    assert_same(first, undisturbed)  # and the second was no part of the first


def test_a_fit_goes_on_after_every_step_on_a_plateau():
    def fresh():
        return begin(
            make("svge"), Recipe(150, 7, 1e-3, factor=0.5, patience=0, period=10), valid=VALID
        )

    undisturbed = fresh()
    finish(undisturbed)
    assert undisturbed.rate < 1e-3  # the schedule has had something to do
    fit = fresh()
    while not fit.finished:
        go(fit, 1)
        again = fresh()
        again.load_state_dict(copy.deepcopy(fit.state_dict()))
        fit = again
    assert_same(fit, undisturbed)


def test_two_fits_may_go_on_from_one_state():
    origin = begin(make("svge"))
    go(origin, 4)
    state = origin.state_dict()
    one, other = begin(make("svge")), begin(make("svge"))
    one.load_state_dict(state)
    other.load_state_dict(state)
    finish(one)
    finish(other)
    assert_same(one, other)
    assert origin.graphs < one.graphs


def test_a_finished_state_leaves_nothing_to_do():
    fit = begin(make("svge"))
    assert not fit.finished_in(fit.state_dict())
    go(fit, 2)
    assert not fit.finished_in(fit.state_dict())
    finish(fit)
    again = begin(make("svge"))
    again.load_state_dict(fit.state_dict())
    assert again.finished_in(fit.state_dict())
    assert list(again.run()) == []
    assert again.history == fit.history


FAULTS = {
    "the order of an epoch is not its own": ("counters", 0, lambda n: n + 1),
    "the noise of a step is not its own": ("counters", 1, lambda n: n + 1),
    "the place in the period is lost": ("counters", 2, lambda _: 0),
    "the loss of the period is lost": ("sums", 0, lambda _: 0.0),
    "the learning rate is lost": ("sums", 2, lambda rate: 2 * rate),
}


@pytest.mark.parametrize(("entry", "index", "damage"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_restored_is_noticed(entry, index, damage):
    undisturbed = begin(make("svge"))
    finish(undisturbed)
    fit = begin(make("svge"))
    go(fit, 5)
    state = copy.deepcopy(fit.state_dict())
    state[entry][index] = damage(state[entry][index])
    fit.load_state_dict(state)
    finish(fit)
    with pytest.raises(AssertionError):
        assert_same(fit, undisturbed)


def test_moments_that_are_not_restored_are_noticed():
    undisturbed = begin(make("svge"))
    finish(undisturbed)
    fit = begin(make("svge"))
    go(fit, 5)
    state = copy.deepcopy(fit.state_dict())
    state["optimiser"] = {}
    again = begin(make("svge"))
    again.load_state_dict(state)
    finish(again)
    with pytest.raises(AssertionError):
        assert_same(again, undisturbed)


def test_noise_that_is_not_of_the_step_is_noticed(monkeypatch):
    """A generator that draws from one stream for the whole fit would not go on the same."""
    streams = {}

    def shared(seed, name):
        kind = name.rpartition("/")[0] if name.startswith("fit/step") else name
        return streams.setdefault((seed, kind), stream(seed, kind))

    monkeypatch.setattr(module, "stream", shared)
    undisturbed = begin(make("svge"))
    finish(undisturbed)
    streams.clear()
    fit = begin(make("svge"))
    go(fit, 5)
    streams.clear()
    finish(fit)
    with pytest.raises(AssertionError):
        assert_same(fit, undisturbed)


# Parameters of another generator


def test_a_state_of_other_data_is_refused():
    state = begin(make("svge")).state_dict()
    with pytest.raises(ValueError, match="that fit had 23 training graphs, now there are 22"):
        begin(make("svge"), train=TRAIN[:22]).load_state_dict(state)


def test_parameters_that_do_not_fit_are_refused():
    generator = make("svge")
    before = copy.deepcopy(generator.state_dict())
    with pytest.raises(ValueError, match=r"are those of another generator: .* differs"):
        load_parameters(generator, make("dvae").state_dict())
    wide = SVGe(SPACE.layout, hidden=12, latent_size=3, rounds=1, rng=stream(0, "init"))
    with pytest.raises(ValueError, match=r"of other sizes or operations: .* has shape .*, not"):
        load_parameters(generator, wide.state_dict())
    five = Layout.make(3, 5, edges=[(0, 1), (1, 2)])
    with pytest.raises(ValueError, match="of other sizes or operations"):
        load_parameters(generator, MAKERS["svge"](five, rng=stream(0, "init")).state_dict())
    after = generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    other = make("svge", seed=8)
    load_parameters(generator, other.state_dict())
    assert torch.equal(generator.encode(ARCHS)[0], other.encode(ARCHS)[0])
