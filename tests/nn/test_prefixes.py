import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.nn.prefixes import Prefixes


def test_pack_by_hand():
    adj = torch.zeros(2, 3, 3, dtype=torch.bool)
    adj[1, 0, 1] = True
    # One graph without nodes yet; one with two nodes and an edge between them.
    known = ArchitectureBatch(
        torch.tensor([[0, 0, 0], [1, 2, 0]]), adj, num_nodes=torch.tensor([0, 2])
    )
    packed = Prefixes.pack(known, num_ops=4)
    assert len(packed) == 2
    assert packed.op.tolist() == [4, 1, 2, 4]
    assert packed.new.tolist() == [0, 3]
    assert packed.exists.tolist() == [[False] * 3, [True, True, False]]
    assert packed.candidates.tolist() == [[0, 0, 0], [1, 2, 3]]
    edges = set(zip(packed.source.tolist(), packed.target.tolist(), strict=True))
    assert edges == {(1, 2), (1, 3), (2, 3)}
    assert packed.features.tolist() == [
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],  # nothing is known of the new node's neighbours
    ]
