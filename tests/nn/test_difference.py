import torch
from torch import nn

from netwright.nn.difference import DifferenceMLP
from netwright.rng import scoped, stream


def _mlp(pair_features=0):
    with scoped(stream(0, "mlp")):
        return DifferenceMLP(4, 6, 3, pair_features)


def _naive(mlp, x_i, x_j, *e):
    stacked = nn.Sequential(mlp.first, nn.ReLU(), mlp.second)
    return stacked(torch.cat([x_i - x_j, *e], dim=-1))


def test_equals_the_perceptron_on_every_pair():
    mlp, x = _mlp(), torch.randn(5, 4, generator=stream(0, "x"))
    got = mlp(x[:, None], x[None, :])
    for i in range(5):
        for j in range(5):
            assert torch.allclose(got[i, j], _naive(mlp, x[i], x[j]), atol=1e-6)


def test_pair_features_enter_the_first_layer():
    mlp, rng = _mlp(pair_features=2), stream(1, "x")
    x_i, x_j, e = (torch.randn(7, size, generator=rng) for size in (4, 4, 2))
    hidden = mlp.hidden(mlp.project(x_i), mlp.project(x_j), mlp.pair_bias(e))
    assert torch.allclose(mlp.second(hidden), _naive(mlp, x_i, x_j, e), atol=1e-6)
