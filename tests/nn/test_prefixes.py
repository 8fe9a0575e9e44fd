import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.nn.prefixes import KNOWN, TO_NEW, Prefixes


def _known():
    adj = torch.zeros(2, 3, 3, dtype=torch.bool)
    adj[1, 0, 1] = True
    # One graph without nodes yet; one with two nodes and an edge between them.
    return ArchitectureBatch(
        torch.tensor([[0, 0, 0], [1, 2, 0]]), adj, num_nodes=torch.tensor([0, 2])
    )


def _edges(packed):
    ends = (packed.source.tolist(), packed.target.tolist(), packed.kind.tolist())
    return set(zip(*ends, strict=True))


def test_pack_by_hand():
    packed = Prefixes.pack(_known())
    assert packed.graph.tolist() == [0, 1, 1, 1]
    assert packed.position.tolist() == [0, 0, 1, 2]
    assert packed.is_new.tolist() == [True, False, False, True]
    assert packed.new.tolist() == [0, 3]
    assert packed.slot.tolist() == [0, 1]
    assert packed.exists.tolist() == [[False] * 3, [True, True, False]]
    assert packed.candidates.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert _edges(packed) == {(1, 2, KNOWN), (1, 3, TO_NEW), (2, 3, TO_NEW)}


def test_replicas_get_equally_many_rows_edges_and_places():
    known = _known()[torch.tensor([0, 1, 1])]
    packed = Prefixes.pack(known, torch.tensor([0, 0, 1]), replicas=2)
    # Four rows in the first replica, three in the second, and a spare one in each.
    assert packed.graph.tolist() == [0, 1, 1, 1, 0, 2, 2, 2, 0, 0]
    assert (
        packed.is_new.tolist()
        == [True, False, False, True, False] + [False, False, True] + [False] * 2
    )
    assert _edges(packed) == {
        (1, 2, KNOWN), (1, 3, TO_NEW), (2, 3, TO_NEW),
        (5, 6, KNOWN), (5, 7, TO_NEW), (6, 7, TO_NEW),
    }  # fmt: skip
    assert packed.slot.tolist() == [0, 1, 2]
    assert packed.new.tolist() == [0, 3, 7, 9]
    assert packed.candidates[:3].tolist() == [[0, 0, 0], [1, 2, 3], [5, 6, 7]]
    assert packed.exists.tolist() == [[False] * 3] + [[True, True, False]] * 2 + [[False] * 3]
    assert len(packed.source) == 6


def test_what_fills_up_touches_spare_rows_only():
    known = _known()[torch.tensor([1, 1, 0, 0])]
    packed = Prefixes.pack(known, torch.tensor([0, 0, 1, 1]), replicas=2)
    assert len(packed.source) == 12
    assert set(packed.source[6:].tolist()) == set(packed.target[6:].tolist()) == {13}
    assert len(packed.graph) == 14
