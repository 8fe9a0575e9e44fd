"""The learning rule against formulas written out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from independent import Independent

from netwright.generators.graphpnas import GraphPNAS
from netwright.rng import stream
from netwright.searchers import policy_gradient
from netwright.searchers.policy_gradient import (
    FitOptions,
    Learner,
    Lesson,
    decisions,
    fit,
    log1mexp,
    loss_of_each,
    rewards,
)
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy

SPACE = Toy()
ALL = SPACE.enumerate()


def policy(seed=0, spread=1.0):
    return Independent(SPACE.layout, rng=stream(seed, "policy"), spread=spread)


def loss(*args):
    return loss_of_each(*args).mean()


def fit_one(model, archs, score, options, *, rng):
    """Fit a single policy that was not trained before."""
    (stats,) = fit([Lesson(Learner(model), archs, score, rng)], options)
    return stats


@given(st.floats(-700.0, -1e-6))
def test_log1mexp_agrees_with_the_exact_value(x):
    exact = math.log(-math.expm1(x)) if x > -0.5 else math.log1p(-math.exp(x))
    got = log1mexp(torch.tensor([x], dtype=torch.float64)).item()
    assert got == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("x", [-1e-6, -1e-3, -0.5, -math.log(2), -0.7, -5.0, -40.0, -80.0])
def test_log1mexp_is_accurate_in_single_precision(x):
    # 1 - P would be 1 from P = 1e-8 on, and 0 at P = 1 - 1e-8
    single = torch.tensor([x], requires_grad=True)
    value = log1mexp(single)
    value.backward()
    at = float(single.detach().double())
    assert value.item() == pytest.approx(math.log(-math.expm1(at)), rel=1e-5)
    assert single.grad.item() == pytest.approx(1 / math.expm1(-at) * -1, rel=1e-5)


@pytest.mark.parametrize("x", [0.0, -1e-9, -1e4, -torch.inf])
def test_log1mexp_stays_finite_at_the_ends(x):
    x = torch.tensor([x], requires_grad=True)
    value = log1mexp(x)
    value.backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()


def test_standardised_rewards():
    got = rewards(torch.tensor([1.0, 3.0, 5.0]), "standardised")
    torch.testing.assert_close(got, torch.tensor([-1.0, 0.0, 1.0]) * math.sqrt(1.5))


def test_rank_rewards_count_who_is_no_better():
    got = rewards(torch.tensor([0.9, 0.1, 0.5, 0.7]), "rank")
    assert got.tolist() == [1.0, 0.25, 0.5, 0.75]
    assert rewards(torch.tensor([0.2, 0.1, 0.2, 0.2]), "rank").tolist() == [1.0, 0.25, 1.0, 1.0]


@pytest.mark.parametrize("n", [1, 3, 30])
def test_equal_scores_teach_nothing(n):
    score = torch.full((n,), 0.1)  # its mean rounds
    assert rewards(score, "standardised").tolist() == [0.0] * n
    model = policy()
    before = model.logits.detach().clone()
    options = FitOptions()
    stats = fit_one(model, ALL[:n], score, options, rng=stream(0, "fit"))
    assert stats == {}
    assert torch.equal(model.logits, before)


def test_almost_equal_scores_are_standardised():
    got = rewards(torch.tensor([0.9, 0.9, 0.9 + 1e-9], dtype=torch.float64), "standardised")
    assert got.tolist() == pytest.approx([-(0.5**0.5), -(0.5**0.5), 2**0.5], rel=1e-3)


def test_decisions_are_nodes_and_free_pairs():
    assert decisions(ALL[:2], SPACE.layout).tolist() == [3.0, 3.0]
    free = SPACE.layout.freed()
    assert decisions(ALL[:2].pad(5), replace_nodes(free, 5)).tolist() == [6.0, 6.0]


def replace_nodes(layout, nodes):
    return type(layout).make(nodes, layout.num_ops)


def by_hand(logits, archs, reward, beta, per_decision):
    """The loss in plain Python, from probabilities."""
    p = logits.double().softmax(dim=1)
    total = torch.zeros((), dtype=torch.float64)
    for ops, r in zip(archs.ops.tolist(), reward, strict=True):
        prob = p[0, ops[0]] * p[1, ops[1]] * p[2, ops[2]]
        if r > 0:
            total = total - r * prob.log()
        else:
            prob = prob ** (1 / 3) if per_decision else prob
            total = total - beta * abs(r) * (1 - prob).log()
    return total / len(reward)


REWARDS = [1.5, -0.3, 0.0, -2.0, 0.8]


@pytest.mark.parametrize("per_decision", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.05, 1.0])
def test_loss_and_gradient_equal_the_formula(beta, per_decision):
    model, archs = policy(), ALL[torch.tensor([0, 5, 13, 20, 26])]
    options = FitOptions(beta=beta, probability="per_decision" if per_decision else "graph")
    length = decisions(archs, SPACE.layout)
    value = loss(model.log_prob(archs), torch.tensor(REWARDS), length, options)
    (gradient,) = torch.autograd.grad(value, model.logits)
    logits = model.logits.detach().double().requires_grad_()
    expected = by_hand(logits, archs, REWARDS, beta, per_decision)
    (exact,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("probability", ["graph", "per_decision"])
@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_each_term_alone_moves_the_likelihood_the_right_way(reward, probability):
    model, arch = policy(), ALL[:1]
    options = FitOptions(beta=1.0, probability=probability)
    before = model.log_prob(arch).item()
    for _ in range(20):
        length = decisions(arch, SPACE.layout)
        value = loss(model.log_prob(arch), torch.tensor([reward]), length, options)
        (gradient,) = torch.autograd.grad(value, model.logits)
        model.logits.data -= 0.1 * gradient
    change = model.log_prob(arch).item() - before
    assert change * reward > 0.01, "the sign of this term is flipped"


def test_the_reward_is_a_weight():
    log_prob = torch.tensor([-2.0])
    one, length = torch.ones(1), torch.ones(1)
    for sign in (1, -1):
        small = loss(log_prob, sign * one, length, FitOptions())
        assert loss(log_prob, 3 * sign * one, length, FitOptions()) == pytest.approx(3 * small)


def test_fitting_by_likelihood_finds_the_distribution_of_the_buffer():
    """Equal positive rewards are maximum likelihood, whose solution is the share of each op."""
    model, archs = policy(), ALL[torch.tensor([0, 1, 2, 9, 18, 25])]
    options = FitOptions(
        epochs=500, batch_size=6, learning_rate=0.02, reward="rank", clip=None, beta=0.0
    )
    equal = torch.full((6,), 0.7)
    fit_one(model, archs, equal, options, rng=stream(0, "fit"))
    shares = torch.stack([(archs.ops == op).float().mean(dim=0) for op in range(3)], dim=1)
    torch.testing.assert_close(model.logits.softmax(dim=1), shares, atol=0.02, rtol=0)


class PlainDescent(torch.optim.SGD):
    """Gradient descent, so that a step is the gradient."""

    def __init__(self, parameters, *, lr, fused):
        del lr, fused
        super().__init__(parameters, lr=1.0)

    def state_dict(self):
        row = self.param_groups[0]["params"][0].detach()
        adam = {"step": 1, "exp_avg": row * 0, "exp_avg_sq": row * 0}
        return super().state_dict() | {"state": {0: adam}}


def step_of(clip, monkeypatch):
    """The parameters after one step of plain gradient descent, and what `fit` says of it."""
    monkeypatch.setattr(torch.optim, "Adam", PlainDescent)
    model = policy()
    options = FitOptions(epochs=1, batch_size=27, clip=clip)
    before = model.logits.detach().clone()
    stats = fit_one(model, ALL, ALL.ops.sum(dim=1).float(), options, rng=stream(0, "fit"))
    return (model.logits.detach() - before).norm().item(), stats["gradient norm"]


def test_the_gradient_is_clipped(monkeypatch):
    free, norm = step_of(None, monkeypatch)
    assert free == pytest.approx(norm, rel=1e-4)
    step, reported = step_of(norm / 2, monkeypatch)
    assert step == pytest.approx(norm / 2, rel=1e-3)
    assert reported == pytest.approx(norm), "the norm is reported as it was before clipping"
    assert step_of(2 * norm, monkeypatch)[0] == pytest.approx(norm, rel=1e-4)


def test_a_batch_gone_through_in_parts_has_the_same_gradient(monkeypatch):
    whole = step_of(None, monkeypatch)
    monkeypatch.setattr(policy_gradient, "_ROWS", 24)  # four graphs of three nodes
    assert step_of(None, monkeypatch) == pytest.approx(whole, rel=1e-5)


def test_training_is_adams():
    model, expected = policy(), policy()
    score = ALL.ops.sum(dim=1).float()
    options = FitOptions(epochs=3, batch_size=27, learning_rate=0.1, clip=None)
    learner = Learner(model)
    fit([Lesson(learner, ALL, score, stream(0, "fit"))], options)
    fit([Lesson(learner, ALL, score, stream(1, "fit"))], options)  # goes on with its moments
    adam = torch.optim.Adam(expected.parameters(), lr=0.1)
    reward, length = rewards(score, "standardised"), decisions(ALL, SPACE.layout)
    for _ in range(6):
        adam.zero_grad()
        loss(expected.log_prob(ALL), reward, length, options).backward()
        adam.step()
    torch.testing.assert_close(model.logits, expected.logits, atol=1e-4, rtol=1e-4)


CELLS = NASBench101(max_nodes=5)


def lessons(seeds=(0, 1, 2), kept=6, **options):
    made = []
    for seed in seeds:
        rng = stream(seed, "lesson")
        archs = CELLS.sample(kept, rng=rng)
        score = torch.rand(kept, generator=rng)
        make = {"hidden": 8, "rounds": 2, "mixtures": 3} | options
        learner = Learner(GraphPNAS(CELLS.layout, rng=rng, **make))
        made.append(Lesson(learner, archs, score, rng))
    return made


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("likelihood", ["graph", "normalised"])
def test_stacked_policies_learn_what_single_ones_learn(variant, likelihood):
    options = FitOptions(epochs=3, batch_size=4, learning_rate=0.01, likelihood=likelihood)
    together, alone = lessons(variant=variant), lessons(variant=variant)
    for _ in range(2):  # the second time with Adam's moments
        stats = fit(together, options)
        each = [fit([lesson], options)[0] for lesson in alone]
        for i, lesson in enumerate(together):
            torch.testing.assert_close(
                lesson.learner.row, alone[i].learner.row, atol=1e-5, rtol=1e-4
            )
            assert stats[i] == pytest.approx(each[i], rel=1e-3)
    rows = [lesson.learner.row for lesson in together]
    assert not torch.allclose(rows[0], rows[1])


def test_policies_of_one_shape_are_one_model(monkeypatch):
    sizes = []
    stack = policy_gradient._fit_stack

    def spy(some, options):
        sizes.append(len(some))
        return stack(some, options)

    monkeypatch.setattr(policy_gradient, "_fit_stack", spy)
    mixed = [*lessons(), *lessons((3,), kept=5), *lessons((4, 5), hidden=4)]
    mixed.append(Lesson(Learner(policy()), ALL, ALL.ops.sum(dim=1).float(), stream(0, "fit")))
    fit(mixed, FitOptions(epochs=1))
    assert sizes == [3, 1, 2, 1]


def test_who_has_nothing_to_learn_stays_as_it_is():
    some = lessons()
    some[1].score.fill_(0.5)
    before = [lesson.learner.row for lesson in some]
    stats = fit(some, FitOptions(epochs=1))
    changed = [
        not torch.equal(lesson.learner.row, row) for lesson, row in zip(some, before, strict=True)
    ]
    assert changed == [True, False, True]
    assert [bool(s) for s in stats] == changed


def test_normalised_likelihood_by_hand():
    (lesson,) = lessons((0,))
    options = FitOptions(likelihood="normalised")
    policy, archs = lesson.learner.policy, lesson.archs
    got = policy_gradient._log_likelihood(policy, archs, options).detach()
    for i, n in enumerate(archs.num_nodes.tolist()):
        edges, ops = policy.log_prob_parts(archs[i : i + 1])[0].detach()
        assert got[i] == pytest.approx(float(edges / (n * (n + 1) / 2) + 0.5 * ops / n), rel=1e-5)


def test_a_policy_without_parts_cannot_be_normalised():
    with pytest.raises(TypeError, match="Independent has no log_prob_parts"):
        fit_one(policy(), ALL, ALL.ops.sum(dim=1).float(),
                FitOptions(likelihood="normalised"), rng=stream(0, "fit"))  # fmt: skip


def test_fit_depends_on_its_arguments_only():
    score = ALL.ops.sum(dim=1).float()
    results = []
    for seed in (0, 0, 1):
        model, options = policy(), FitOptions(epochs=2)
        before = torch.get_rng_state()
        fit_one(model, ALL, score, options, rng=stream(seed, "fit"))
        assert torch.equal(before, torch.get_rng_state())
        results.append(model.logits.detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_every_epoch_visits_every_architecture_once():
    seen = []

    class Spy(Independent):
        def log_prob(self, archs):
            seen.append(archs.ops)
            return super().log_prob(archs)

    model, options = Spy(SPACE.layout, rng=stream(0, "policy")), FitOptions(epochs=2, batch_size=4)
    score = ALL.ops.sum(dim=1).float()
    fit_one(model, ALL, score, options, rng=stream(0, "fit"))
    assert [len(ops) for ops in seen] == ([4] * 6 + [3]) * 2
    epochs = [torch.cat(seen[:7]), torch.cat(seen[7:])]
    for ops in epochs:
        assert sorted(ops.tolist()) == ALL.ops.tolist()
    assert not torch.equal(*epochs), "the order does not change"


def test_a_likelihood_of_nothing_is_an_error_and_not_a_silent_nan():
    class Broken(Independent):
        def log_prob(self, archs):
            return super().log_prob(archs) * torch.inf

    model, options = Broken(SPACE.layout, rng=stream(0, "policy")), FitOptions(epochs=1)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        fit_one(model, ALL, ALL.ops.sum(dim=1).float(), options, rng=stream(0, "fit"))


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"clip": 0.0}, {"beta": -1.0}],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(FitOptions(), **wrong)


def test_defaults_are_the_papers():
    expected = FitOptions(70, 2, 1e-3, 1.0, "standardised", 0.05, "graph", "graph")
    assert FitOptions() == expected


@pytest.mark.gpu
def test_seeds_train_as_one_model_on_cuda():
    options = FitOptions(epochs=3, batch_size=4, learning_rate=0.01)
    there, here = lessons(), lessons()
    for lesson in there:
        lesson.learner.policy.to("cuda")
    fit(there, options)
    fit(here, options)
    for a, b in zip(there, here, strict=True):
        torch.testing.assert_close(a.learner.row.cpu(), b.learner.row, atol=1e-4, rtol=1e-3)
