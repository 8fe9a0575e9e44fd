r"""SVGe: a graph variational autoencoder that reads and writes graphs in both directions [SVGe].

The encoder passes messages along the edges and against them, and sums node states up to the mean
and the log-variance of a normal distribution (eq. 2-4). The decoder writes the graph from input
to output, and a second time from output to input (eq. 5-8); a decoded graph has the nodes of the
first and the edges of both. The loss (eq. 9 and 10) scores both directions with teacher forcing,
all graphs of a batch at once.

``variant = "released"`` is the model of the paper's released code: one gate per node instead of
one per coordinate in eq. 4, edges of a step averaged instead of summed, the posterior's noise
multiplied by 0.01, and a weight of the divergence that grows with the batch
(``0.005 * len(archs)``).

Deviations, from the paper (P) or the released code (R):

* The graph embedding of a lone first node is $\psi(h_0)$, as in R. P has $z$; but as both
  directions share weights (as in R; ``backward = "separate"`` gives each its own), $z$ alone
  would not tell them apart.
* R feeds the edge scores of a graph in a batch with the embeddings of other graphs
  (``repeat`` for ``repeat_interleave``). Here a batch gives what its graphs give alone.
* R takes the edge between the first two nodes for granted in both directions; here it is drawn
  and learned like any other, unless the layout forces it.
* R's union keeps no edge of the backward graph that the forward graph does not have; here it is
  the union. ``decode(..., direction="forward")`` leaves the backward graph out.
* The layout is obeyed: what it forces or forbids is not decided (P and R: a free layout,
  `netwright.graphs.layout.Layout.freed` with ``keep_ends``).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.generators.base import Generator, complete, insist_complete, insist_latent
from netwright.generators.variational import divergence, perturbed
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.joint import JointPropagation
from netwright.nn.limits import Limits
from netwright.nn.readout import GraphEncoder
from netwright.nn.sequential import Rules, SequentialDecoder
from netwright.nn.two_way import TwoWayPropagation
from netwright.rng import child, scoped

Variant = Literal["paper", "released"]
Backward = Literal["shared", "separate", "none"]
Propagate = Literal["two-way", "joint"]
Direction = Literal["forward", "backward", "union"]


class SVGe(Generator):
    r"""Smooth variational graph embedding, in the paper's sizes.

    Args:
        layout: Sizes, vocabulary and what is fixed.
        hidden: Size of a node's state, both directions together.
        latent_size: Size of the latent space.
        rounds: Rounds of message passing, in the encoder and in every step of the decoder.
        variant: "paper", or "released".
        backward: Whether there is a backward decoder, and whether it shares its weights with the
            forward one: "shared", "separate" or "none". If None, it is shared, and there if the
            layout can be read backwards (`netwright.graphs.layout.Layout.reversed`).
        propagation: "two-way", or "joint", one state for messages of both directions (DGMG).
        kl_weight: Weight $\alpha$ of the divergence in the loss (eq. 10).
        noise: Factor of the posterior's standard deviation in the loss; that of the variant if
            None.
        rng: Draws the initial parameters.

    Raises:
        ValueError: If an option is none of its values, or a backward decoder is asked for and the
            layout cannot be read backwards.
    """

    #: Parameters fit layouts of any number of nodes.
    any_size = True

    def __init__(
        self,
        layout: Layout,
        *,
        hidden: int = 250,
        latent_size: int = 56,
        rounds: int = 2,
        variant: Variant = "paper",
        backward: Backward | None = None,
        propagation: Propagate = "two-way",
        kl_weight: float = 0.005,
        noise: float | None = None,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("variant", variant, get_args(Variant)),
            ("backward", backward or "none", get_args(Backward)),
            ("propagation", propagation, get_args(Propagate)),
        ):
            if value not in known:
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(known)}")
        turned = None if backward == "none" else layout.reversed()
        if backward is not None and backward != "none" and turned is None:
            raise ValueError(
                "this layout cannot be read backwards, its first node has several operations: "
                "use backward='none'"
            )
        self.layout, self.latent_size, self.kl_weight = layout, latent_size, kl_weight
        self.variant = variant
        self.noise = {"paper": 1.0, "released": 0.01}[variant] if noise is None else noise
        self.layouts = [layout] if turned is None else [layout, turned]
        self._rules = Rules.of(self.layouts)
        gate: Literal["scalar", "vector"] = "vector" if variant == "paper" else "scalar"
        joint = propagation == "joint"
        make = JointPropagation if joint else TwoWayPropagation
        decoders = len(self.layouts) if backward == "separate" else 1
        with scoped(rng):
            self.encoder = GraphEncoder(
                layout.num_ops,
                latent_size,
                make(hidden, rounds),
                embed=hidden if joint else hidden // 2,
                gate=gate,
            )
            self.decoders = nn.ModuleList(
                SequentialDecoder(layout.num_ops, latent_size, make(hidden, rounds), gate=gate)
                for _ in range(decoders)
            )

    def encode(
        self, archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return mean and log-variance of the posterior of each architecture (eq. 2-4).

        They do not depend on the order in which nodes are stored.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        mean, log_variance = self.encoder(insist_complete(archs, self.layout))
        return mean, log_variance

    def log_likelihood(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> Float[Tensor, "batch direction"]:
        r"""Return $\log p(G \mid z)$ in nats, of the forward and (if any) the backward decoder.

        Each is the log-probability of a distribution over the complete graphs of its layout in
        their given node order (of the reversed layout for the backward decoder). The union of
        the two has no tractable one.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        op, edges, _ = self._parts(latent, insist_complete(archs, self.layout))
        return (op + edges).sum(dim=2).T

    def logits(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> tuple[Float[Tensor, "batch node op"], Float[Tensor, "batch node node"]]:
        """Return the scores behind the forward decoder's probabilities, differentiable.

        Returns:
            Logits of each node's operation, given the nodes before it, and of each edge; 0 where
            there is nothing to decide: for nodes that a graph does not have, for a first node
            that is fixed, and for edges to nodes that have no free one.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        archs = insist_complete(archs, self.layout)
        order = archs.num_nodes.argsort(descending=True, stable=True)
        rules = self._rules.to(archs.device)
        way = torch.zeros(len(archs), dtype=torch.long, device=archs.device)
        decoder = self.decoders[0]
        assert isinstance(decoder, SequentialDecoder)
        op, edges = decoder.logits(latent[order], archs[order], rules, way)
        back = order.argsort()
        return op[back], edges[back]

    def loss(self, archs: ArchitectureBatch, *, rng: torch.Generator) -> Float[Tensor, ""]:
        """Return the reconstruction loss plus the weighted divergence (eq. 10), averaged.

        Raises:
            ValueError: If a graph is not a complete graph of the layout.
        """
        terms = self.loss_terms(archs, rng=rng)
        weight = self.kl_weight * (len(archs) if self.variant == "released" else 1)
        return terms["nodes"] + terms["edges"] + weight * terms["divergence"]

    def loss_terms(
        self, archs: ArchitectureBatch, *, rng: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Return what `loss` adds up, each averaged over the batch, the divergence unweighted."""
        archs = insist_complete(archs, self.layout)
        mean, log_variance = self.encoder(archs)
        latent = perturbed(mean, log_variance, self.noise, rng=rng)
        op, edges, free = self._parts(latent, archs)
        if self.variant == "released":
            edges = edges / free.clamp(min=1)
        count = max(len(archs), 1)
        return {
            "nodes": -op.sum() / count,
            "edges": -edges.sum() / count,
            "divergence": divergence(mean, log_variance).sum() / count,
        }

    @torch.no_grad()
    def decode(
        self,
        latent: Float[Tensor, "batch latent"],
        *,
        rng: torch.Generator,
        mode: bool = False,
        direction: Direction = "union",
        within: Layout | None = None,
    ) -> ArchitectureBatch:
        """Draw one architecture at each latent point.

        Args:
            latent: The points.
            rng: Source of all randomness; not used if ``mode``.
            mode: Take the likeliest choice at every step.
            direction: "forward", from input to output; "backward", the other way round; or
                "union", nodes and edges of the forward graph and the edges of the backward graph
                between nodes that the forward graph has. Without a backward decoder: forward.
            within: A stricter layout of the same size and vocabulary to obey, its rules on the
                graph as a whole included, so that every graph decoded is of that layout. Not part
                of the paper; forward only.

        Raises:
            ValueError: If points do not have ``latent_size`` coordinates, or one is not finite;
                if ``within`` does not fit.
        """
        draws = None if mode else child(rng, self._checked(latent, direction).device)
        archs, which = self._decode(latent, 1, draws, direction, within)
        return archs[which[:, 0]]

    @torch.no_grad()
    def decode_often(
        self,
        latent: Float[Tensor, "point latent"],
        draws: int,
        *,
        rng: torch.Generator,
        direction: Direction = "forward",
        within: Layout | None = None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "point draw"]]:
        """Draw many architectures at each latent point, each as `decode` does.

        Steps that draws of one point have in common are computed once: of a trained decoder,
        hundreds of draws take little more time than a few.

        Args:
            latent: The points.
            draws: How many at each.
            rng: Source of all randomness.
            direction: As of `decode`; forward unless told otherwise, as that is what decoding
                comes to in the released code, whose union adds no edges.
            within: As of `decode`.

        Returns:
            Architectures, and which of them each draw is.

        Raises:
            ValueError: If there are no draws, or as `decode`.
        """
        if draws < 1:
            raise ValueError(f"{draws} draws at each point: at least 1")
        device = self._checked(latent, direction).device
        return self._decode(latent, draws, child(rng, device), direction, within)

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Decode ``n`` points drawn from the prior."""
        parameter = next(self.parameters())
        latent = torch.randn(n, self.latent_size, generator=rng, dtype=parameter.dtype)
        return self.decode(latent.to(parameter.device), rng=rng)

    def _parts(
        self, latent: Float[Tensor, "batch latent"], archs: ArchitectureBatch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of operations and edges, and numbers of free pairs, per direction."""
        batches = [archs]
        if len(self.layouts) > 1:
            batches.append(dag.reverse(archs))
            if not bool(complete(batches[1], self.layouts[1]).all()):
                raise ValueError(
                    "a graph cannot be read backwards, its first operation comes up again: "
                    "use backward='none'"
                )
        groups = [[0, 1][: len(batches)]] if len(self.decoders) == 1 else [[0], [1]]
        op, edges, pairs = [], [], []
        for decoder, ways in zip(self.decoders, groups, strict=False):
            rows = ArchitectureBatch.cat([batches[way] for way in ways])
            way = torch.tensor(ways, device=rows.device).repeat_interleave(len(archs))
            order = rows.num_nodes.argsort(descending=True, stable=True)
            back = order.argsort()
            rules = self._rules.to(rows.device)
            assert isinstance(decoder, SequentialDecoder)
            scored = decoder.score(
                latent.repeat(len(ways), 1)[order], rows[order], rules, way[order]
            )
            shape = (len(ways), len(archs))
            op.append(scored[0][back].unflatten(0, shape))
            edges.append(scored[1][back].unflatten(0, shape))
            free = rules.free[way].sum(dim=1) * rows.node_mask
            pairs.append(free.unflatten(0, shape))
        return torch.cat(op), torch.cat(edges), torch.cat(pairs)

    def _checked(
        self, latent: Float[Tensor, "batch latent"], direction: str
    ) -> Float[Tensor, "batch latent"]:
        """Return the points, if they and the direction are ones to decode."""
        if direction not in get_args(Direction):
            known = ", ".join(get_args(Direction))
            raise ValueError(f"direction: {direction!r} is not one of {known}")
        return insist_latent(latent, self.latent_size)

    def _decode(
        self,
        latent: Float[Tensor, "point latent"],
        draws: int,
        rng: torch.Generator | None,
        direction: Direction,
        within: Layout | None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "point draw"]]:
        """Draw graphs at each point, or take the likeliest without ``rng``; as `decode_often`."""
        if within is not None:
            return self._within(latent, draws, within, rng)
        if len(self.layouts) == 1 or direction == "forward":
            return self._draw(latent, draws, [0], rng)
        ways = [0, 1] if direction == "union" else [1]
        archs, which = self._draw(latent, draws, ways, rng)
        if direction == "backward":
            return dag.reverse(archs), which
        pairs = torch.stack([which[: len(latent)], which[len(latent) :]], dim=2).flatten(0, 1)
        pairs, of_draw = pairs.unique(dim=0, return_inverse=True)
        joint = united(archs[pairs[:, 0]], dag.reverse(archs[pairs[:, 1]]), self.layout)
        return joint, of_draw.view(len(latent), draws)

    def _draw(
        self,
        latent: Float[Tensor, "point latent"],
        draws: int,
        ways: list[int],
        rng: torch.Generator | None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "row draw"]]:
        """Draw graphs per direction and point; backward ones as they are decoded."""
        rules = self._rules.to(latent.device)
        groups = [ways] if len(self.decoders) == 1 else [[way] for way in ways]
        found: list[ArchitectureBatch] = []
        places = []
        for group in groups:
            decoder = self.decoders[0 if len(self.decoders) == 1 else group[0]]
            assert isinstance(decoder, SequentialDecoder)
            way = torch.tensor(group, device=latent.device).repeat_interleave(len(latent))
            rows = latent.repeat(len(group), 1)
            archs, which = decoder.draw(rows, rules, way, draws=draws, rng=rng)
            places.append(which + sum(len(some) for some in found))
            found.append(archs)
        return ArchitectureBatch.cat(found), torch.cat(places)

    def _within(
        self,
        latent: Float[Tensor, "point latent"],
        draws: int,
        within: Layout,
        rng: torch.Generator | None,
    ) -> tuple[ArchitectureBatch, Int[Tensor, "point draw"]]:
        """Draw graphs of ``within`` at each point."""
        mine = (self.layout.max_nodes, self.layout.num_ops)
        if (within.max_nodes, within.num_ops) != mine:
            raise ValueError(
                f"a layout of {within.max_nodes} nodes and {within.num_ops} operations does not "
                f"fit this generator, which has {mine[0]} and {mine[1]}"
            )
        if within.max_edges is not None and within.end_op is None:
            raise ValueError("cannot keep to max_edges where no operation ends a graph")
        decoder = self.decoders[0]
        assert isinstance(decoder, SequentialDecoder)
        rules = Rules.of([within]).to(latent.device)
        way = torch.zeros(len(latent), dtype=torch.long, device=latent.device)
        limits = Limits(within.max_edges, within.connected)
        return decoder.draw(latent, rules, way, draws=draws, rng=rng, limits=limits)


def united(
    forward: ArchitectureBatch, backward: ArchitectureBatch, layout: Layout
) -> ArchitectureBatch:
    """Add edges of a second graph to a first: those between nodes it has that the layout frees.

    Nodes correspond by their position, counted from the input.
    """
    size = max(forward.max_nodes, backward.max_nodes)
    first, second = forward.pad(size), backward.pad(size)
    free = layout.free.to(first.device)
    adj = first.adj | (second.adj & torch.nn.functional.pad(free, (0, size - len(free)) * 2))
    return ArchitectureBatch.masked(first.ops, adj, first.num_nodes).pad(forward.max_nodes)
