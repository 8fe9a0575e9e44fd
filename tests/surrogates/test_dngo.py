"""DNGO: the regression against closed forms, the network on functions that are known."""

import math

import pytest
import torch

from netwright.rng import stream
from netwright.surrogates.dngo import DNGOOptions, TanhNetwork, fit_dngo, fit_linear

QUICK = DNGOOptions(hidden=16, layers=2, epochs=60)


def evidence(features, target, alpha, beta):
    """The log-density of the scores with the weights integrated out, evaluated densely."""
    covariance = torch.eye(len(target), dtype=torch.double) / beta + features @ features.T / alpha
    quadratic = target @ torch.linalg.solve(covariance, target)
    return -float(quadratic + covariance.logdet() + len(target) * math.log(2 * math.pi)) / 2


@pytest.fixture
def linear():
    """Forty noisy scores that are linear in five features."""
    rng = stream(0, "linear")
    features = torch.randn(40, 5, generator=rng, dtype=torch.double)
    weights = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.double)
    noise = 0.3 * torch.randn(40, generator=rng, dtype=torch.double)
    return features, features @ weights + noise, weights


def test_the_precisions_maximise_the_evidence(linear):
    features, target, _ = linear
    found = fit_linear(features, target)
    best = evidence(features, target, found.alpha, found.beta)
    for a in (0.5, 0.9, 1.0, 1.1, 2.0):
        for b in (0.5, 0.9, 1.0, 1.1, 2.0):
            if (a, b) != (1.0, 1.0):
                assert evidence(features, target, a * found.alpha, b * found.beta) < best
    assert 0.2 < found.beta**-0.5 < 0.4, "the deviation of the noise is 0.3"


def test_the_posterior_is_that_of_the_textbook(linear):
    features, target, weights = linear
    found = fit_linear(features, target)
    precision = found.alpha * torch.eye(5, dtype=torch.double) + found.beta * features.T @ features
    torch.testing.assert_close(found.covariance, precision.inverse())
    torch.testing.assert_close(found.mean, found.beta * precision.inverse() @ features.T @ target)
    assert float((found.mean - weights).abs().max()) < 0.3
    at = torch.tensor([[1.0, 2.0, -1.0, 0.5, 0.0]], dtype=torch.double)
    mean, sd = found.predict(at)
    torch.testing.assert_close(mean, at @ found.mean)
    variance = 1 / found.beta + float(at[0] @ precision.inverse() @ at[0])
    assert float(sd) == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize("features", [torch.zeros(3, 2), torch.eye(3), torch.ones(3, 8)])
def test_a_regression_that_leaves_no_noise_or_sees_nothing_is_finite(features):
    target = torch.tensor([1.0, -1.0, 0.0], dtype=torch.double)
    for scores in (target, torch.zeros_like(target)):
        found = fit_linear(features.double(), scores)
        for value in (found.mean, found.covariance, *found.predict(features.double())):
            assert bool(value.isfinite().all())
        assert 0 < found.alpha < math.inf
        assert 0 < found.beta < math.inf


def test_the_network_takes_the_steps_that_autograd_and_adam_take():
    x = torch.randn(8, 3, generator=stream(0, "points"))
    network = TanhNetwork(3, 5, 2, rng=stream(0, "init"))
    same = network.flat.clone().requires_grad_()
    adam = torch.optim.Adam([same], lr=0.1)
    order = stream(0, "order")
    for batch in (b for _ in range(3) for b in torch.randperm(8, generator=order).split(3)):
        first, second, last = same.split([4 * 5, 6 * 5, 6])
        out = x[batch]
        for part, size in ((first, 3), (second, 5)):
            out = (out @ part[: 5 * size].view(size, 5) + part[5 * size :]).tanh()
        adam.zero_grad()
        (out @ last[:5] + last[5] - x[batch].sum(dim=1)).square().mean().backward()
        adam.step()
    network.train(
        x, x.sum(dim=1), epochs=3, batch_size=3, learning_rate=0.1, rng=stream(0, "order")
    )
    torch.testing.assert_close(network.flat, same.detach(), atol=1e-5, rtol=1e-4)


def test_a_function_is_learned_in_units_of_its_scores():
    x = 5 + 3 * torch.rand(150, 2, generator=stream(0, "points"))
    score = 70 + 10 * torch.sin(x[:, 0]) * (x[:, 1] - 6)
    dngo = fit_dngo(x[:100], score[:100], QUICK, rng=stream(0, "fit"))
    mean, sd = dngo.predict(x[100:])
    wrong = (mean - score[100:]).square().mean().sqrt()
    assert float(wrong) < 0.3 * float(score.std())
    assert mean.dtype == torch.double
    assert bool((sd > 0).all())


def test_it_is_less_sure_far_from_what_it_knows():
    x = torch.randn(50, 2, generator=stream(0, "points"))
    dngo = fit_dngo(x, x[:, 0].sin(), QUICK, rng=stream(0, "fit"))
    near, far = dngo.predict(x)[1], dngo.predict(6 * x)[1]
    assert float(far.mean()) > 1.5 * float(near.mean())
    assert bool((near >= dngo.unit * dngo.noise**0.5).all()), "the noise is in it"


def test_only_the_random_stream_decides():
    x = torch.randn(20, 3, generator=stream(0, "points"))
    before = torch.get_rng_state()
    one, again, other = (
        fit_dngo(x, x[:, 0], QUICK, rng=stream(seed, "fit")).predict(x)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_constant_scores_and_coordinates_are_no_problem():
    x = torch.randn(12, 3, generator=stream(0, "points"))
    x[:, 1] = 4.0
    dngo = fit_dngo(x, torch.full((12,), 0.5), QUICK, rng=stream(0, "fit"))
    mean, sd = dngo.predict(x)
    torch.testing.assert_close(mean, torch.full((12,), 0.5, dtype=torch.double), atol=0.1, rtol=0)
    assert bool(sd.isfinite().all())


def test_the_defaults_are_those_of_arch2vec():
    options = DNGOOptions()
    assert (options.hidden, options.layers, options.epochs) == (128, 3, 100)
    assert (options.batch_size, options.learning_rate) == (10, 0.01)


@pytest.mark.parametrize(
    ("x", "score", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2), "3 points, 2 scores"),
        (torch.zeros(1, 2), torch.zeros(1), "two at least"),
        (torch.zeros(2, 2), torch.tensor([0.0, torch.nan]), "finite"),
        (torch.full((2, 2), torch.inf), torch.zeros(2), "finite"),
    ],
)
def test_what_cannot_be_learned_is_said(x, score, message):
    with pytest.raises(ValueError, match=message):
        fit_dngo(x, score, QUICK, rng=stream(0, "fit"))


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="hidden must be at least 1, not 0"):
        DNGOOptions(hidden=0)
