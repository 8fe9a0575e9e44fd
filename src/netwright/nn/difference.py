"""A two-layer perceptron on the difference of two nodes, its first layer paid per node."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DifferenceMLP(nn.Module):
    r"""$W_2\,\mathrm{relu}(W_1 [x_i - x_j, e_{ij}] + b_1) + b_2$.

    The first layer is linear, so it is applied to nodes (`project`) and the difference is taken
    afterwards: the matrix work grows with the nodes, not with the pairs. The second layer is
    linear too, so `second` can run after a weighted sum over pairs.

    Args:
        in_features: Size of $x$.
        hidden: Size of the hidden layer.
        out_features: Size of the output.
        pair_features: Size of $e$, what is known of the pair itself.
    """

    def __init__(
        self, in_features: int, hidden: int, out_features: int, pair_features: int = 0
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.first = nn.Linear(in_features + pair_features, hidden)
        self.second = nn.Linear(hidden, out_features)

    def project(self, x: Float[Tensor, "*node feature"]) -> Float[Tensor, "*node hidden"]:
        """Apply the first layer's weights to nodes; two such rows are subtracted per pair."""
        return nn.functional.linear(x, self.first.weight[:, : self.in_features])

    def pair_bias(self, e: Float[Tensor, "*pair feature"]) -> Float[Tensor, "*pair hidden"]:
        """Return what the first layer adds to the difference of two projections."""
        weight = self.first.weight[:, self.in_features :]
        return nn.functional.linear(e, weight, self.first.bias)

    def hidden(
        self,
        first: Float[Tensor, "*#pair hidden"],
        second: Float[Tensor, "*#pair hidden"],
        bias: Float[Tensor, "*#pair hidden"] | None = None,
    ) -> Float[Tensor, "*pair hidden"]:
        """Return the hidden layer for pairs, given the projections of both of their nodes.

        Args:
            first: Projection of $x_i$.
            second: Projection of $x_j$.
            bias: From `pair_bias`; without it, pairs have no features of their own.
        """
        return torch.relu(first - second + (self.first.bias if bias is None else bias))

    def forward(
        self, x_i: Float[Tensor, "*#pair feature"], x_j: Float[Tensor, "*#pair feature"]
    ) -> Float[Tensor, "*pair out"]:
        """Evaluate pairs that have no features of their own."""
        out: Tensor = self.second(self.hidden(self.project(x_i), self.project(x_j)))
        return out
