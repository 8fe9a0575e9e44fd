r"""A graph network that predicts scores: the Neural Predictor [Wen2019].

.. math:: V_{l+1} = \tfrac12 \mathrm{ReLU}(\hat A V_l W_l^+) + \tfrac12 \mathrm{ReLU}(\hat A^T V_l
    W_l^-)

with $\hat A$ the adjacency matrix with self-loops, rows divided by their sums, and $V_0$ the
operations, one-hot; then the mean over nodes and a perceptron of one hidden layer.

Deviations from the paper: scores are standardised instead of scaled to a sigmoid, there is no
two-stage classifier, no weight decay and no dropout, and the learning rate is larger, for fewer
steps.
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import insist_complete
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import scoped
from netwright.surrogates.predictors import Labels, not_fitted, perceptron
from netwright.surrogates.regression import Regression, Training

_AT_ONCE = 4096  # graphs predicted at a time


class GraphNetwork(nn.Module):
    """Graphs in, one number each out.

    Args:
        num_ops: Size of the operation vocabulary.
        hidden: Size of a node's state.
        layers: Rounds of propagation along and against the edges.
        head: Size of the perceptron's hidden layer.
    """

    def __init__(
        self, num_ops: int, *, hidden: int = 144, layers: int = 3, head: int = 128
    ) -> None:
        super().__init__()
        self.num_ops = num_ops
        sizes = [num_ops, *[hidden] * layers]
        # Both directions side by side: states are multiplied first, then they travel.
        self.both = nn.ModuleList(nn.Linear(into, 2 * hidden, bias=False) for into in sizes[:-1])
        self.head = perceptron([hidden, head, 1])

    def forward(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the output for each graph; padding does not count."""
        real = archs.node_mask
        eye = torch.eye(archs.max_nodes, device=archs.device)
        along, against = (edges + eye for edges in (archs.adj.float(), archs.adj.mT.float()))
        routes = torch.stack([along, against], dim=1)
        routes = routes / routes.sum(dim=3, keepdim=True)
        state = nn.functional.one_hot(archs.ops, self.num_ops).float() * real[:, :, None]
        for layer in self.both:
            split = layer(state).unflatten(2, (2, -1)).transpose(1, 2)  # [graph, way, node, hidden]
            state = (routes @ split).relu().mean(dim=1)
        mean = state.sum(dim=1) / archs.num_nodes[:, None]  # padding stays 0: there is no bias
        out: Tensor = self.head(mean)
        return out[:, 0]


@final
class GraphNetworkPredictor:
    """Predicts scores with a `GraphNetwork`, trained on their squared error.

    Args:
        layout: Of the architectures.
        hidden: Size of a node's state.
        layers: Rounds of propagation.
        head: Size of the hidden layer after the mean over nodes.
        training: How.
    """

    #: How it is trained unless told otherwise.
    TRAINING = Training(epochs=75, batch_size=10, learning_rate=3e-3, schedule="cosine")

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 144,
        layers: int = 3,
        head: int = 128,
        training: Training = TRAINING,
    ) -> None:
        self.layout, self.training = layout, training
        self.hidden, self.layers, self.head = hidden, layers, head
        self._module: GraphNetwork | None = None
        self._scale = (0.0, 1.0)

    def fit(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """`Predictor.fit`."""
        labels = Labels.of(archs, score, self.layout)
        with scoped(rng):
            module = GraphNetwork(
                self.layout.num_ops, hidden=self.hidden, layers=self.layers, head=self.head
            )

        def loss(batch: Int[Tensor, " batch"], rng: torch.Generator) -> Float[Tensor, ""]:
            del rng
            return nn.functional.mse_loss(module(labels.archs[batch]), labels.target[batch])

        seed = int(torch.randint(2**62, (), generator=rng))
        for _ in Regression(module, loss, len(labels.target), self.training, seed=seed).run():
            pass
        self._module, self._scale = module, (labels.mean, labels.sd)

    @torch.no_grad()
    def predict(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """`Predictor.predict`."""
        if self._module is None:
            raise not_fitted()
        archs = insist_complete(archs, self.layout)
        parts = [torch.zeros(0)]
        for i in range(0, len(archs), _AT_ONCE):
            parts.append(self._module(archs[i : i + _AT_ONCE]))
        mean, sd = self._scale
        return mean + sd * torch.cat(parts)
