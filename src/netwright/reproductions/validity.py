"""What the published measures of generators call valid ([SVGe] section IV-A and its released code).

It is less than membership of a space: NAS-Bench-201's adjacency is not required, say.
`SearchSpace.is_valid` is the stricter notion.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace


def published_validity(space: SearchSpace, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    """Tell which graphs the published rules of a search space call valid.

    In all spaces: one node is the input and one the output, every node but the input has an
    incoming and every node but the output an outgoing edge. As graphs are stored in topological
    order, the input then is the first node, the output the last, and every node on a path between
    the two. Beyond that

    * ``nasbench101``: what the benchmark itself accepts once nodes on no path are removed (there
      are none): at most 7 nodes and 9 edges, or what the space has in their place;
    * ``enas``: a path from each node to the next. In topological order, that is the edge between
      them (and the last layer, which has an outgoing edge, has no other than to the output);
    * ``nasbench201``: nothing.

    Raises:
        ValueError: If no rules were published for the space.
    """
    valid = _one_input_one_output(space, archs)
    match space.name:
        case "nasbench101":
            valid &= archs.num_nodes <= space.layout.max_nodes
            if space.layout.max_edges is not None:
                valid &= archs.num_edges <= space.layout.max_edges
        case "enas":
            valid &= _chained(archs)
        case "nasbench201":
            pass
        case _:
            raise ValueError(
                f"no rules of validity were published for {space.name}: use those of the space"
            )
    return valid


def _one_input_one_output(space: SearchSpace, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    """What holds in all spaces; also, that every operation has a name."""
    real = archs.node_mask
    is_input = (archs.ops == space.op_names.index("input")) & real
    is_output = (archs.ops == space.op_names.index("output")) & real
    named = (archs.ops >= 0) & (archs.ops < len(space.op_names))
    fed, used = archs.adj.any(dim=1), archs.adj.any(dim=2)
    sound = named & (fed | is_input) & (used | is_output)
    ends = (is_input.sum(dim=1) == 1) & (is_output.sum(dim=1) == 1)
    return ends & (sound | ~real).all(dim=1)


def _chained(archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    """Whether each node has an edge to the next."""
    node = torch.arange(1, archs.max_nodes, device=archs.device)
    step = archs.adj.diagonal(offset=1, dim1=1, dim2=2)
    return (step | (node >= archs.num_nodes[:, None])).all(dim=1)
