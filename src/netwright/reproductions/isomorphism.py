"""Whether an encoder maps isomorphic graphs to one point ([SVGe] section III-D)."""

import torch

from netwright.config.fits import FitConfig, load_generator
from netwright.config.objects import make_space
from netwright.generators.base import HasLatent
from netwright.generators.latent import encode_means
from netwright.graphs.ordering import reorderings
from netwright.results import Row
from netwright.runs.fits import FitRun
from netwright.spaces.base import Enumerable

TITLE = "SVGe: isomorphic cells are mapped to one point"
NOTE = (
    "Every 7-node cell of NAS-Bench-101 that can be stored in another topological order of its "
    "nodes, each with all its other orders as pairs; the paper has 11,606 pairs. A pair is mapped "
    "to one point if no coordinate of the two means differs by more than the threshold, relative "
    "to the standard deviation of that coordinate over all cells. The distance between different "
    "cells, below, is what that compares with."
)
#: Cells whose copies are encoded at a time.
_CHUNK = 4096
#: Largest difference of a coordinate, in standard deviations, of what counts as one point: 32-bit
#: sums in another order.
THRESHOLD = 1e-3


@torch.no_grad()
def experiment(run: FitRun, *, limit: int | None = None) -> list[Row]:
    """Encode all pairs of isomorphic cells of the largest size.

    Args:
        run: The fit of a generator with a latent space.
        limit: No more cells than that.

    Raises:
        ValueError: If its space cannot be listed.
    """
    config = FitConfig.parse(run.config)
    space, generator = make_space(config.space), load_generator(run)
    assert isinstance(generator, HasLatent)
    if not isinstance(space, Enumerable):
        raise ValueError(f"{space.name} cannot be listed")
    archs = space.enumerate()
    archs = archs[archs.num_nodes == space.layout.max_nodes]
    if limit is not None:
        archs = archs[
            torch.randperm(len(archs), generator=torch.Generator().manual_seed(0))[:limit]
        ]
    means = torch.cat(
        [encode_means(generator, archs[i : i + _CHUNK]) for i in range(0, len(archs), _CHUNK)]
    )
    sd = means.std(dim=0)
    pairs, same, furthest, cells = 0, 0, 0.0, 0
    for start in range(0, len(archs), _CHUNK):
        copies, origin = reorderings(archs[start : start + _CHUNK])
        if not len(copies):
            continue
        gap = (encode_means(generator, copies) - means[start + origin]).abs() / sd
        worst = gap.amax(dim=1)
        pairs, same = pairs + len(copies), same + int((worst <= THRESHOLD).sum())
        furthest = max(furthest, float(worst.max()))
        cells += len(origin.unique())
    # Different cells: each with the next in a random order, the same measure.
    order = torch.randperm(len(archs), generator=torch.Generator().manual_seed(1))
    between = ((means[order] - means[order.roll(1)]).abs() / sd).amax(dim=1)
    name = f"{space.name}, {space.layout.max_nodes} nodes"
    made = {"method": config.method.name}
    return [
        Row.of(name, "cells with another order", [float(cells)], **made),
        Row.of(name, "isomorphic pairs", [float(pairs)], paper=11_606.0, **made),
        Row.of(
            name, "pairs mapped to one point", [100 * same / max(pairs, 1)], paper=100.0, **made
        ),
        Row.of(name, "largest difference of a pair, in sd", [furthest], **made),
        Row.of(name, "smallest difference of two cells, in sd", [float(between.min())], **made),
    ]
