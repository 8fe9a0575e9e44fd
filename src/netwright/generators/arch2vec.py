r"""arch2vec: a variational graph autoencoder with a latent vector per node ([Yan2020]).

A graph isomorphism network reads the undirected graph; operations are read off the nodes' latent
vectors, edges off their inner products. The latent point of a graph is that of all its nodes, one
after the other. Nodes that the undirected graph does not tell apart have one encoding, and so an
edge between them when decoded: such graphs do not come back.

Deviations from [Yan2020] and its released code:

* Operations are scored through a sigmoid each, as the released code does where its configuration
  and the paper have a softmax. Decoding takes the largest either way.
* What the released code calls a log-variance it uses as the logarithm of a standard deviation, in
  the noise and in the KL term alike. So does this; `encode` returns twice that.
* The KL term weighs 1/32 of its mean over nodes, over their number, whatever the size of the batch;
  released, one over the batch size, which is 32 there. Set ``kl_weight`` to that to recover it.
* Cross-entropies are computed from logits. The released code computes them from sigmoids, which
  are 1 for large numbers, and cuts the loss there, so that nothing is learned from it.
* Linear layers before batch normalisation have no bias: normalising takes it away.
* A decoded graph is cut at the first operation that ends a graph, and what the layout fixes is put
  in its place; the released code discards what is not right as it is. The loss scores all
  operations and all pairs of nodes, as published, also those that the layout fixes, and graphs
  smaller than the layout are filled up with nodes without operations, which are scored too.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.generators.base import Generator, insist_complete, insist_latent
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import scoped


class Arch2Vec(Generator):
    r"""The autoencoder of [Yan2020], in the sizes of its released code.

    Batch normalisation uses the statistics of the batch in `loss` while the module is in training
    mode, as it is when new, and the running ones otherwise and in `encode`.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of a node's state.
        node_latent: Latent coordinates of a node.
        layers: Layers of the encoder.
        dropout: Share of latent coordinates that training hides from the decoder.
        noise: Scale of the noise that training adds to the encoding.
        kl_weight: Weight of the KL term's mean over graphs and nodes, times the number of nodes.
        rng: Draws the initial parameters.
    """

    any_size = True
    deterministic = True  # nothing is drawn at decoding: choices are independent, and thresholds

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 128,
        node_latent: int = 16,
        layers: int = 4,
        dropout: float = 0.3,
        noise: float = 1.0,
        kl_weight: float = 1 / 32,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.layout, self.node_latent = layout, node_latent
        self.latent_size = layout.max_nodes * node_latent
        self.dropout, self.noise, self.kl_weight = dropout, noise, kl_weight
        self.register_buffer("allowed_ops", layout.allowed_ops.clone(), persistent=False)
        self.register_buffer("free", layout.free.clone(), persistent=False)
        self.register_buffer("forced", layout.forced.clone(), persistent=False)
        self.allowed_ops: Tensor
        self.free: Tensor
        self.forced: Tensor
        with scoped(rng):
            sizes = [layout.num_ops] + [hidden] * (layers - 1)
            self.layers = nn.ModuleList(_Layer(size, hidden) for size in sizes)
            # Mean and logarithm of the standard deviation of a node.
            self.posterior = nn.Linear(hidden, 2 * node_latent)
            self.op_head = nn.Linear(node_latent, layout.num_ops)

    def encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return mean and log-variance of the posterior, with running statistics.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        ops, adj = self._tensors(insist_complete(archs, self.layout))
        mean, log_deviation = self._posterior(ops, adj + adj.mT, training=False)
        return mean.flatten(1), 2 * log_deviation.flatten(1)

    def loss(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> Float[Tensor, ""]:
        """Return the loss of the released code: two binary cross-entropies and the KL term.

        Both are means over all entries of the matrices of operations and of edges, half of which
        are no pairs and count as right.

        Raises:
            ValueError: If a graph is not a complete graph of the layout, or if batch
                normalisation has only one node to normalise.
        """
        archs = insist_complete(archs, self.layout)
        size = self.layout.max_nodes
        if self.training and len(archs) * size < 2:
            raise ValueError("batch normalisation needs more than one node: use a larger batch")
        ops, adj = self._tensors(archs)
        mean, log_deviation = self._posterior(ops, adj + adj.mT, training=self.training)
        deviation = log_deviation.exp()
        latent = torch.addcmul(
            mean, deviation, torch.randn(mean.shape, generator=rng).to(mean), value=self.noise
        )
        if self.training and self.dropout > 0:
            kept = torch.rand(latent.shape, generator=rng).to(latent) >= self.dropout
            latent = latent * kept / (1 - self.dropout)
        of_ops = nn.functional.binary_cross_entropy_with_logits(self.op_head(latent), ops)
        pairs = torch.bmm(latent, latent.mT)
        wrong = nn.functional.softplus(pairs.where(adj == 0, -pairs)).triu(diagonal=1)
        kl = 0.5 * (mean.square() + deviation.square() - 1 - 2 * log_deviation).sum(dim=2)
        return of_ops + wrong.mean() + self.kl_weight / size * kl.mean()

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Decode ``n`` points of the standard normal distribution."""
        latent = torch.randn(n, self.latent_size, generator=rng).to(self.op_head.weight)
        return self.decode(latent, rng=rng)

    @torch.no_grad()
    def decode(
        self, latent: Float[Tensor, "batch latent"], *, rng: torch.Generator, mode: bool = False
    ) -> ArchitectureBatch:
        """Return the likeliest architecture at each latent point; ``rng`` and ``mode`` are unused.

        Raises:
            ValueError: If points do not have ``latent_size`` coordinates, or one is not finite.
        """
        del rng, mode
        size = self.layout.max_nodes
        nodes = insist_latent(latent, self.latent_size).view(len(latent), size, self.node_latent)
        ops = self.op_head(nodes).masked_fill(~self.allowed_ops, -torch.inf).argmax(dim=2)
        edges = (torch.bmm(nodes, nodes.mT) > 0) & self.free | self.forced
        count = torch.full((len(latent),), size, device=latent.device)
        if self.layout.end_op is not None:
            place = torch.arange(size, device=latent.device)
            ended = torch.where(ops == self.layout.end_op, place, size - 1)
            count = ended.amin(dim=1) + 1
        return ArchitectureBatch.masked(ops, edges, count)

    def _tensors(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch node op"], Float[Tensor, "batch node node"]]:
        """One-hot operations, zeros where there is no node, and adjacency matrices."""
        dtype = self.op_head.weight.dtype
        one_hot = torch.eye(self.layout.num_ops + 1, dtype=dtype, device=archs.device)[:, :-1]
        rows = archs.ops.where(archs.node_mask, self.layout.num_ops)
        return one_hot[rows], archs.adj.to(dtype)

    def _posterior(
        self,
        ops: Float[Tensor, "batch node op"],
        edges: Float[Tensor, "batch node node"],
        *,
        training: bool,
    ) -> tuple[Float[Tensor, "batch node latent"], Float[Tensor, "batch node latent"]]:
        """Return mean and logarithm of the standard deviation of the nodes' posteriors."""
        state = ops
        for layer in self.layers:
            state = layer(state, edges, training)
        mean, log_deviation = self.posterior(state).chunk(2, dim=2)
        return mean, log_deviation


class _Layer(nn.Module):
    r"""A layer of a graph isomorphism network ([Yan2020] eq. 1).

    $h_v \leftarrow \mathrm{MLP}((1 + \epsilon) h_v + \sum_{u \sim v} h_u)$ with a perceptron of
    two layers, each normalised over all nodes of the batch.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(()))
        self.first = nn.Linear(size, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(2))

    def forward(
        self,
        state: Float[Tensor, "batch node size"],
        edges: Float[Tensor, "batch node node"],
        training: bool,
    ) -> Float[Tensor, "batch node hidden"]:
        """Return the states after the layer."""
        graphs, nodes, size = state.shape
        summed = torch.baddbmm(state, edges, state) + self.own * state
        first, second = self.norms
        hidden = _normalise(first, self.first(summed.view(-1, size)), training).relu()
        hidden = _normalise(second, self.second(hidden), training).relu()
        return hidden.view(graphs, nodes, hidden.shape[1])


def _normalise(
    norm: nn.Module, rows: Float[Tensor, "row hidden"], training: bool
) -> Float[Tensor, "row hidden"]:
    """Normalise over rows, with their own statistics in training and the running ones else."""
    assert isinstance(norm, nn.BatchNorm1d)
    return nn.functional.batch_norm(
        rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=training
    )
