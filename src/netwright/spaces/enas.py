"""The macro search space of ENAS [Pham2018]: layers in a chain, with free skip connections."""

import re
from collections.abc import Sequence
from math import comb
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace, one_edit

_LISTABLE = 4  # layers up to which the space is listed: 82,944 architectures


@final
class ENAS(SearchSpace):
    """Networks of ``layers`` layers, each with one of six operations [SVGe] section IV.

    Node 0 is the input (the stem), nodes 1, 2, ... are the layers and the last node is the
    output. Each layer takes the one before it, the output takes the last layer and nothing else,
    and layer ``l`` may also take any of the nodes ``0 .. l - 2``. The chain leaves one
    topological order, so no two architectures are isomorphic.

    Text form: the operations in D-VAE's order, 0 = conv3x3, 1 = sepconv3x3, 2 = conv5x5,
    3 = sepconv5x5, 4 = avgpool3x3, 5 = maxpool3x3; a semicolon; and for each layer the nodes
    that it skips from, character ``k`` being 1 for node ``k``, or ``-`` for the first layer,
    which has none: ``1 0 5 4 0 0;- 0 11 111 1000 00100``.

    Args:
        layers: Number of layers: 6 in D-VAE and SVGe (8 nodes), 12 in ENAS.

    Attributes:
        size: Number of architectures: 6^layers times 2 to the number of possible skips. Up to 4
            layers, `enumerate` lists them.

    Raises:
        ValueError: If there is no layer.
    """

    name = "enas"
    op_names = (
        "input",
        "conv3x3",
        "sepconv3x3",
        "conv5x5",
        "sepconv5x5",
        "avgpool3x3",
        "maxpool3x3",
        "output",
    )

    def __init__(self, layers: int = 6) -> None:
        if layers < 1:
            raise ValueError(f"a network has at least 1 layer, not {layers}")
        nodes = layers + 2
        chain = Layout.make(
            nodes,
            len(self.op_names),
            allowed_ops=[[0], *[[1, 2, 3, 4, 5, 6]] * layers, [7]],
            edges=[(i, i + 1) for i in range(nodes - 1)],
        )
        skips = torch.ones(nodes, nodes, dtype=torch.bool).triu(diagonal=2)
        skips[:, -1] = False
        self.layout = Layout(nodes, chain.num_ops, chain.allowed_ops, skips, chain.forced)
        self.size = 6**layers * 2 ** comb(layers, 2)
        self._layers = layers
        # Layer by layer, and within a layer by source: the order of the digits in the text.
        self._targets, self._sources = skips.mT.nonzero().T
        bits = " ".join(["-", *["0" * layer for layer in range(1, layers)]])
        self._form = f"{' '.join('0' * layers)};{bits}"
        self._digits = [i for i, char in enumerate(self._form) if char == "0"]
        operations, _, skipped = self._form.partition(";")
        self._pattern = re.compile(
            f"{operations.replace('0', '[0-5]')};{skipped.replace('0', '[01]')}"
        )

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` architectures uniformly."""
        ops = torch.randint(6, (n, self._layers), generator=rng)
        skips = torch.randint(2, (n, len(self._sources)), generator=rng)
        return self._archs(ops, skips.bool())

    def neighbours(self, arch: ArchitectureBatch) -> ArchitectureBatch:
        """List the architectures that differ in one operation or one skip connection."""
        return one_edit(arch, self.layout)

    def to_text(self, archs: ArchitectureBatch) -> list[str]:
        """Write operations and skip connections, as in ``1 0 5;- 0 11``."""
        ops = archs.ops[:, 1 : self._layers + 1] - 1
        skips = archs.adj[:, self._sources, self._targets]
        text = np.frombuffer(self._form.encode(), dtype=np.uint8)
        lines = np.tile(text, (len(archs), 1))
        lines[:, self._digits] += torch.cat([ops, skips], dim=1).cpu().numpy().astype(np.uint8)
        return [line.tobytes().decode() for line in lines]

    def from_text(self, texts: Sequence[str]) -> ArchitectureBatch:
        """Read what `to_text` writes.

        Raises:
            ValueError: If a text has another form.
        """
        for text in texts:
            if not self._pattern.fullmatch(text):
                raise ValueError(
                    f"{text!r} is not of the form {self._form!r}: for each of {self._layers} "
                    "layers an operation 0..5, then a bit for each node it may skip from"
                )
        raw = np.frombuffer(bytearray("".join(texts).encode()), dtype=np.uint8)
        lines = torch.from_numpy(raw).view(len(texts), len(self._form))
        digits = (lines[:, self._digits] - ord("0")).long()
        return self._archs(digits[:, : self._layers], digits[:, self._layers :].bool())

    def enumerate(self) -> ArchitectureBatch:
        """List all architectures: by operations, then by skip connections, as their texts sort.

        Raises:
            ValueError: If there are too many to list.
        """
        if self._layers > _LISTABLE:
            raise ValueError(
                f"{self._layers} layers have {self.size:.3g} architectures, too many to list: "
                f"use at most {_LISTABLE} layers"
            )
        count, pairs = 6**self._layers, len(self._sources)
        ops = torch.arange(count)[:, None] // 6 ** torch.arange(self._layers).flip(0) % 6
        skips = torch.arange(2**pairs)[:, None] >> torch.arange(pairs).flip(0) & 1
        return self._archs(ops.repeat_interleave(2**pairs, dim=0), skips.bool().repeat(count, 1))

    def _archs(
        self, ops: Int[Tensor, "batch layer"], skips: Bool[Tensor, "batch skip"]
    ) -> ArchitectureBatch:
        n = len(ops)
        full = torch.nn.functional.pad(ops + 1, (1, 1))
        full[:, -1] = len(self.op_names) - 1
        adj = self.layout.forced.repeat(n, 1, 1)
        adj[:, self._sources, self._targets] = skips
        return ArchitectureBatch(full, adj, torch.full((n,), self.layout.max_nodes))
