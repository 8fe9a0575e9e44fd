import pytest

from netwright.searchers.schedules import Constant, Exponential, Linear, Steps


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3), {0: 0.3, 10**6: 0.3}),
        (Linear(1.0, 0.0, over=30), {0: 1.0, 10: 2 / 3, 15: 0.5, 29: 1 / 30, 30: 0.0, 300: 0.0}),
        (Linear(0.2, 0.6, over=4), {0: 0.2, 1: 0.3, 4: 0.6, 5: 0.6}),
        # [GraphPNAS] on Tiny-ImageNet
        (Steps(0.6, 0.2, every=10), {0: 0.6, 9: 0.6, 10: 0.12, 19: 0.12, 20: 0.024}),
        # the released code on NAS-Bench-101
        (Steps(1.0, 0.0, every=30), {0: 1.0, 29: 1.0, 30: 0.0, 60: 0.0}),
        (Exponential(0.8, half_life=5), {0: 0.8, 5: 0.4, 10: 0.2, 15: 0.1}),
    ],
)
def test_values(schedule, values):
    for told, value in values.items():
        assert schedule(told) == pytest.approx(value, abs=1e-12)


def test_linear_ends_on_the_exact_value():
    assert Linear(1.0, 0.1, over=7)(7) == 0.1


@pytest.mark.parametrize(
    "make", [lambda: Linear(1.0, 0.0, 0), lambda: Steps(1.0, 0.5, 0), lambda: Exponential(1.0, 0)]
)
def test_lengths_below_one_evaluation_are_refused(make):
    with pytest.raises(ValueError, match="at least 1 evaluation"):
        make()
