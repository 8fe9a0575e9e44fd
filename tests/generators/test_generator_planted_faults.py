"""Each fault planted into GraphPNAS makes a named check of the contract fail."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from netwright.generators import graphpnas
from netwright.generators.graphpnas import GraphPNAS
from netwright.graphs.batch import ArchitectureBatch
from netwright.nn.mixture import BernoulliMixture
from netwright.rng import stream
from netwright.testing.generators import GENERATOR_CHECKS


def make(layout, *, rng):
    return GraphPNAS(layout, hidden=12, rounds=2, mixtures=3, rng=rng)


def mixture_log_prob(self, edges, *, sign=1.0, masked=True, weighted=True):
    """`BernoulliMixture.log_prob`, and what it is with a fault."""
    each = logsigmoid(sign * torch.where(edges[:, :, None], self.theta, -self.theta))
    if masked:
        each = each.masked_fill(~self.free[:, :, None], 0.0)
    alpha = self.alpha if weighted else torch.zeros_like(self.alpha)
    return torch.logsumexp(alpha.log_softmax(dim=-1) + each.sum(dim=1), dim=-1)


def score(self, archs, share, *, sign=1.0, known="prefix", padding=False):
    """`GraphPNAS._score`, and what it is with a fault."""
    decided = torch.ones_like(archs.node_mask) if padding else archs.node_mask
    del share
    graph, step = (decided & torch.tensor(self._open)).nonzero(as_tuple=True)
    ops, adj = archs.ops[graph], archs.adj[graph]
    if known == "own edges":  # the new node's features tell its incoming edges
        before = ArchitectureBatch.masked(ops, adj, step)
        seen = ArchitectureBatch.masked(ops, adj, step + 1)
        before = ArchitectureBatch(before.ops, seen.adj, step)
    elif known == "own operation":  # a node before it has the new node's operation
        before = ArchitectureBatch.masked(ops, adj, step)
        own = ops.gather(1, step[:, None])
        before = ArchitectureBatch(before.ops.where(~before.node_mask, own), before.adj, step)
    elif known == "next operation":
        following = ops.gather(1, (step + 1).clamp(max=ops.shape[1] - 1)[:, None])
        before = ArchitectureBatch.masked(ops, adj, step)
        before = ArchitectureBatch(before.ops.where(~before.node_mask, following), adj, step)
        before = ArchitectureBatch.masked(before.ops, before.adj, step)
    else:
        before = ArchitectureBatch.masked(ops, adj, step)
    logits, edges = self.predict(before)
    log_op = (sign * logits).log_softmax(dim=1).gather(1, archs.ops[graph, step, None])[:, 0]
    term = torch.stack([edges.log_prob(archs.adj[graph, :, step]), log_op], dim=1)
    return torch.zeros(len(archs), 2).index_add(0, graph, term)


def ignoring_rng(self, n, *, rng, temperature=1.0):
    del rng
    return SAMPLE(self, n, rng=stream(0, "always the same"), temperature=temperature)


def with_global_rng(self, n, *, rng, temperature=1.0):
    del rng
    seed = int(torch.randint(2**62, ()))
    return SAMPLE(self, n, rng=torch.Generator().manual_seed(seed), temperature=temperature)


SAMPLE = GraphPNAS.sample
PREDICT = GraphPNAS.predict
INITIALISE = GraphPNAS.__init__
DRAW = BernoulliMixture.sample
COMPLETE = graphpnas.complete


def drawing_any_edge(self, *, rng):
    everything = torch.ones_like(self.free).triu(diagonal=0)
    return DRAW(BernoulliMixture(self.alpha, self.theta, everything), rng=rng)


def drawing_the_first_component(self, *, rng):
    return DRAW(BernoulliMixture(torch.zeros_like(self.alpha), self.theta, self.free), rng=rng)


def predicting_any_op(self, known, replica=None):
    allowed, self.allowed_ops = self.allowed_ops, torch.ones_like(self.allowed_ops)
    try:
        return PREDICT(self, known, replica)
    finally:
        self.allowed_ops = allowed


def predicting_with_infinite_logits(self, known, replica=None):
    """The mask as a product: 0 times minus infinity."""
    logits, edges = PREDICT(self, known, replica)
    allowed = self.allowed_ops[known.num_nodes]
    return torch.log(logits.exp() * allowed) * allowed.float().log().exp(), edges


def initialised_alike(self, layout, *, hidden, rounds, mixtures, rng):
    del rng
    INITIALISE(
        self, layout, hidden=hidden, rounds=rounds, mixtures=mixtures, rng=stream(0, "alike")
    )


def complete_anywhere(archs, layout):
    return COMPLETE(archs, layout.freed())


def planted(function, **fault):
    return lambda self, *arguments: function(self, *arguments, **fault)


#: What is replaced, by what, and the check that has to notice.
FAULTS = {
    "sign of the edge likelihood": (
        BernoulliMixture, "log_prob", planted(mixture_log_prob, sign=-1.0), "frequencies",
    ),
    "sign of the operation likelihood": (
        GraphPNAS, "_score", planted(score, sign=-1.0), "frequencies",
    ),
    "forbidden and forced edges counted": (
        BernoulliMixture, "log_prob", planted(mixture_log_prob, masked=False), "sums to one",
    ),
    "padding counted": (GraphPNAS, "_score", planted(score, padding=True), "sums to one"),
    "forbidden edges drawn": (BernoulliMixture, "sample", drawing_any_edge, "complete"),
    "forbidden operations": (GraphPNAS, "predict", predicting_any_op, "complete"),
    "forbidden operations counted": (GraphPNAS, "predict", predicting_any_op, "sums to one"),
    "mask that spoils gradients": (
        GraphPNAS, "predict", predicting_with_infinite_logits, "gradients",
    ),
    "graphs outside scored": (graphpnas, "complete", complete_anywhere, "outside"),
    "prefix knows the new node's edges": (
        GraphPNAS, "_score", planted(score, known="own edges"), "sums to one",
    ),
    "prefix knows the new node's operation": (
        GraphPNAS, "_score", planted(score, known="own operation"), "sums to one",
    ),
    "prefix knows the next operation": (
        GraphPNAS, "_score", planted(score, known="next operation"), "sums to one",
    ),
    "rng ignored": (GraphPNAS, "sample", ignoring_rng, "rng is used"),
    "global rng used": (GraphPNAS, "sample", with_global_rng, "global rng"),
    "global rng not repeatable": (GraphPNAS, "sample", with_global_rng, "repeatable"),
    "rng ignored by the initial parameters": (
        GraphPNAS, "__init__", initialised_alike, "rng is used",
    ),
    "mixture weights ignored in the likelihood": (
        BernoulliMixture, "log_prob", planted(mixture_log_prob, weighted=False), "frequencies",
    ),
    "mixture weights ignored in sampling": (
        BernoulliMixture, "sample", drawing_the_first_component, "frequencies",
    ),
}  # fmt: skip


#: What each check says when it fails: the fault is noticed for what it is.
COMPLAINTS = {
    "complete": "not a complete graph of the layout",
    "repeatable": "one seed gave two samples",
    "rng is used": "does not use its `rng`|not drawn from `rng`",
    "global rng": "the global random state was touched",
    "sums to one": "probabilities sum to",
    "frequencies": "samples do not follow the probabilities",
    "outside": "graphs outside layout .* have a probability",
    "gradients": "gradient not finite",
}


@pytest.mark.parametrize(("where", "name", "fault", "check"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_noticed(where, name, fault, check, monkeypatch):
    monkeypatch.setattr(where, name, fault)
    with pytest.raises(AssertionError, match=COMPLAINTS[check]):
        GENERATOR_CHECKS[check](make)


def test_the_faultless_copies_pass(monkeypatch):
    """The copies that faults are planted into are right without one."""
    monkeypatch.setattr(BernoulliMixture, "log_prob", mixture_log_prob)
    monkeypatch.setattr(GraphPNAS, "_score", score)
    GENERATOR_CHECKS["sums to one"](make)
    GENERATOR_CHECKS["frequencies"](make)
