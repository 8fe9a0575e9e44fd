"""Gradient descent on labels: its schedule, its average, and where it stops."""

import math
from itertools import chain

import pytest
import torch
from torch import nn

from netwright.rng import stream
from netwright.surrogates.regression import Regression, Training

X = torch.linspace(-1, 1, 10)[:, None]


def regression(training, *, target=3 * X[:, 0] - 1):
    module = nn.Linear(1, 1)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)

    def loss(batch, rng):  # noqa: ARG001 (nothing is drawn)
        return nn.functional.mse_loss(module(X[batch])[:, 0], target[batch])

    return Regression(module, loss, len(X), training, seed=0)


def rates(training):
    """The learning rate of each step."""
    fit = regression(training)
    return [fit._optimiser.param_groups[0]["lr"] for _ in fit.run()]


def test_a_line_is_learnt():
    fit = regression(Training(epochs=200, batch_size=5, learning_rate=0.1, schedule="cosine"))
    for _ in fit.run():
        pass
    assert fit.module.weight.item() == pytest.approx(3, abs=0.01)
    assert fit.module.bias.item() == pytest.approx(-1, abs=0.01)


def test_every_label_is_seen_once_an_epoch():
    seen = []
    module = nn.Linear(1, 1)

    def loss(batch, rng):  # noqa: ARG001 (nothing is drawn)
        seen.append(batch.tolist())
        return module(X[batch]).square().mean()

    events = list(Regression(module, loss, 10, Training(epochs=2, batch_size=4), seed=3).run())
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = (list(chain(*seen[i : i + 3])) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [event is not None for event in events] == [False, False, True] * 2


def test_the_learning_rate_follows_a_half_wave_after_the_warmup():
    found = rates(Training(4, 5, learning_rate=1.0, schedule="cosine", warmup=0.25))
    wave = [0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(1, 7)]
    assert found == pytest.approx([0.5, 1.0, *wave])


def test_the_plateau_is_that_of_torch():
    """The loss of a target of NaN-free noise, as torch's ReduceLROnPlateau sees it."""
    noise = torch.randn(10, generator=stream(0, "noise"))
    fit = regression(Training(60, 10, learning_rate=0.3), target=noise)
    other = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(other, factor=0.1, patience=10)
    for loss in fit.run():
        other.step()
        scheduler.step(loss)
        assert fit._rate == pytest.approx(other.param_groups[0]["lr"])
    assert fit._rate < 0.3


def test_the_last_parameters_are_averaged():
    parameters, fit = [], regression(Training(4, 5, learning_rate=0.1, average=0.5))
    for _ in fit.run():
        parameters.append(fit.module.weight.item())
    plain, last = [], regression(Training(4, 5, learning_rate=0.1))
    for _ in last.run():
        plain.append(last.module.weight.item())
    assert parameters[:-1] == plain[:-1]
    assert parameters[-1] == pytest.approx(sum(plain[4:]) / 4)


def test_a_loss_that_is_not_finite_ends_it_with_the_parameters_before():
    fit = regression(Training(1, 10), target=torch.full((10,), math.inf))
    with pytest.raises(RuntimeError, match="smaller learning rate"):
        list(fit.run())
    assert fit.module.weight.item() == 0
    assert not fit.module.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"warmup": 1.5},
        {"average": -0.1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be positive|shares of the steps") as error:
        Training(**wrong)
    assert "\n" not in str(error.value)


def test_an_unknown_schedule_is_refused():
    with pytest.raises((ValueError, TypeError), match="plateau"):
        Training(schedule="step")
