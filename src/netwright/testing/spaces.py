"""The contract of search spaces, as checks to run on your own.

::

    from netwright.testing.spaces import SPACE_CHECKS

    @pytest.mark.parametrize("check", SPACE_CHECKS.values(), ids=SPACE_CHECKS.keys())
    def test_my_space(check):
        check(MySpace())

`check_space` runs them all.
"""

from collections.abc import Callable

import torch

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.base import Enumerable, SearchSpace, one_edit, uniform_graphs

Check = Callable[[SearchSpace], None]

_N = 64  # architectures per check
_FEW = 5  # architectures whose neighbours are listed
_LISTED = 20_000  # spaces up to this size are enumerated


def check_vocabulary(space: SearchSpace) -> None:
    """The space has a name, and a different name for every operation of its layout."""
    assert space.name, "name must not be empty"
    names = space.op_names
    assert len(names) == space.layout.num_ops, (
        f"layout.num_ops is {space.layout.num_ops}, but op_names has {len(names)} entries"
    )
    assert len(set(names)) == len(names), f"two operations share a name: {names}"


def check_samples(space: SearchSpace) -> None:
    """`sample` returns as many architectures as asked for, well formed and valid."""
    for n in (0, 1, _N):
        archs = _sample(space, n)
        assert len(archs) == n, f"sample({n}) returned {len(archs)} architectures"
        _well_formed(space, archs, "sample")
        _members(space, archs, "sample")


def check_sampling_is_reproducible(space: SearchSpace) -> None:
    """`sample` depends on ``rng``, on all of it, and on nothing else."""
    before = torch.get_rng_state()
    rng = stream(0, "samples")
    first, second = space.sample(_N, rng=rng), space.sample(_N, rng=rng)
    again, other = _sample(space, _N), _sample(space, _N, seed=1)
    assert _same(first, again), "sample gave two results for the same rng"
    assert torch.equal(before, torch.get_rng_state()), "sample used torch's global random state"
    if len(hashing.first_of_each(space.keys(first))) > 1:
        assert not _same(first, other), "sample gave one result for two different rngs"
        assert not _same(first, second), "sample does not advance its rng"
        return
    listed = isinstance(space, Enumerable) and space.size == 1
    assert listed, f"{_N} samples are one and the same architecture"


def check_reasons(space: SearchSpace) -> None:
    """`invalid_reason` gives a reason exactly where `is_valid` is false, graph by graph."""
    archs = _mixture(space)
    valid = space.is_valid(archs)
    assert valid.shape == (len(archs),), "is_valid must return one value per architecture"
    for i, ok in enumerate(valid.tolist()):
        arch = archs[i : i + 1]
        assert bool(space.is_valid(arch)[0]) == ok, "is_valid depends on the rest of the batch"
        reason = space.invalid_reason(arch)
        assert (reason is None) == ok, f"is_valid says {ok}, but invalid_reason says {reason!r}"


def check_layout(space: SearchSpace) -> None:
    """Every member satisfies every rule of the layout, all that generators know."""
    archs = _sample(space, _N)
    for rule, ok in space.layout.rules(archs).items():
        assert bool(ok.all()), f"the layout asks for {rule!r}, but a sample does not have it"


def check_text(space: SearchSpace) -> None:
    """`from_text` gives back to the letter what `to_text` wrote, on one line each."""
    archs = ArchitectureBatch.cat([_sample(space, _N), space.neighbours(_sample(space, 1))])
    texts = space.to_text(archs)
    assert len(texts) == len(archs), "to_text must return one text per architecture"
    for text in texts:
        assert text.strip() == text, f"text {text!r} starts or ends with white space"
        assert text.splitlines() == [text], f"text {text!r} is not one line"
    _back(archs, space.from_text(texts), texts, "from_text")
    _back(archs, space.parse(texts), texts, "parse")
    assert len(space.from_text([])) == 0, "from_text([]) must be an empty batch"


def check_with_ends(space: SearchSpace) -> None:
    """`with_ends` adds nodes, takes none away, and names every operation."""
    archs = _sample(space, _N)
    full, names = space.with_ends(archs)
    assert len(full) == len(archs), "with_ends must return one graph per architecture"
    assert (full.num_nodes >= archs.num_nodes).all(), "with_ends took nodes away"
    assert (full.num_edges >= archs.num_edges).all(), "with_ends took edges away"
    ops = full.ops[full.node_mask]
    assert 0 <= int(ops.min()) <= int(ops.max()) < len(names), "an operation has no name"
    _, same = space.with_ends(archs[:0])
    assert same == names, "the names depend on the graphs"


def check_bad_text(space: SearchSpace) -> None:
    """`from_text` raises ValueError on what cannot be read, wherever it stands in the list."""
    good = space.to_text(_sample(space, 1))
    for garbage in ("", "no such architecture", f"{good[0]} and more"):
        try:
            space.from_text([*good, garbage])
        except ValueError:
            continue
        raise AssertionError(f"from_text accepted {garbage!r}: raise ValueError")


def check_neighbours(space: SearchSpace) -> None:
    """`neighbours` are valid, each listed once, never the architecture itself, always the same."""
    archs = _sample(space, _FEW)
    for i in range(_FEW):
        arch = archs[i : i + 1]
        near = space.neighbours(arch)
        _well_formed(space, near, "neighbours")
        _members(space, near, "neighbours")
        key = space.keys(near)
        assert len(hashing.first_of_each(key)) == len(key), "neighbours lists a graph twice"
        own = (key == space.keys(arch)).all(dim=1)
        assert not bool(own.any()), "neighbours lists the architecture itself"
        assert _same(near, space.neighbours(arch)), "neighbours gave two results for one graph"


def check_simplify(space: SearchSpace) -> None:
    """`simplify` does nothing the second time, and leaves members what they are."""
    mixture = _mixture(space)
    once = space.simplify(mixture)
    assert len(once) == len(mixture), "simplify must return one graph per graph"
    assert _same(space.simplify(once), once), "simplify changes a graph that it made"
    archs = _sample(space, _N)
    kept = space.keys(space.simplify(archs)) == space.keys(archs)
    assert bool(kept.all()), "simplify turns a member into another architecture"


def check_keys(space: SearchSpace) -> None:
    """Renumbering nodes in another topological order changes no key."""
    archs = _sample(space, _N)
    moved = dag.reorder(archs, dag.random_order(archs, rng=stream(0, "orders")))
    assert torch.equal(space.keys(moved), space.keys(archs)), "keys depend on the order of nodes"


def check_padding(space: SearchSpace) -> None:
    """Padding changes neither validity, nor texts, nor neighbours."""
    archs = _mixture(space)
    padded = archs.pad(archs.max_nodes + 2)
    assert torch.equal(space.is_valid(padded), space.is_valid(archs)), "padding changes is_valid"
    assert _same(space.simplify(padded), space.simplify(archs)), "padding changes simplify"
    members = _sample(space, _N)
    padded = members.pad(members.max_nodes + 2)
    assert space.to_text(padded) == space.to_text(members), "padding changes to_text"
    near = [space.neighbours(batch[:1]) for batch in (padded, members)]
    assert _same(*near), "padding changes neighbours"


def check_enumeration(space: SearchSpace) -> None:
    """`enumerate` lists every member once, in one order; skipped above 20,000 architectures."""
    if not isinstance(space, Enumerable) or space.size > _LISTED:
        return
    archs = space.enumerate()
    _well_formed(space, archs, "enumerate")
    _members(space, archs, "enumerate")
    key = space.keys(archs)
    assert len(hashing.first_of_each(key)) == len(key), "enumerate lists an architecture twice"
    assert len(archs) == space.size, f"size is {space.size}, but enumerate lists {len(archs)}"
    assert _same(archs, space.enumerate()), "enumerate changes its order"
    samples = _sample(space, _N)
    near = [space.neighbours(samples[i : i + 1]) for i in range(_FEW)]
    known = set(hashing.to_hex(key))
    for source, found in (("sample", samples), ("neighbours", ArchitectureBatch.cat(near))):
        missing = set(hashing.to_hex(space.keys(found))) - known
        assert not missing, f"{source} returned architectures that enumerate does not list"


#: Every check by name.
SPACE_CHECKS: dict[str, Check] = {
    "vocabulary": check_vocabulary,
    "samples": check_samples,
    "sampling is reproducible": check_sampling_is_reproducible,
    "reasons": check_reasons,
    "layout": check_layout,
    "text": check_text,
    "bad text": check_bad_text,
    "with ends": check_with_ends,
    "neighbours": check_neighbours,
    "simplify": check_simplify,
    "keys": check_keys,
    "padding": check_padding,
    "enumeration": check_enumeration,
}


def check_space(space: SearchSpace) -> None:
    """Run every check.

    Raises:
        AssertionError: If the space breaks its contract, naming how.
    """
    for check in SPACE_CHECKS.values():
        check(space)


def _sample(space: SearchSpace, n: int, *, seed: int = 0) -> ArchitectureBatch:
    return space.sample(n, rng=stream(seed, "samples"))


def _mixture(space: SearchSpace) -> ArchitectureBatch:
    """Members, near misses and graphs that are hardly ever valid."""
    samples = _sample(space, _N)
    wild = uniform_graphs(space.layout.freed(), _N, rng=stream(0, "wild"))
    return ArchitectureBatch.cat([samples, one_edit(samples[:1], space.layout.freed()), wild])


def _same(a: ArchitectureBatch, b: ArchitectureBatch) -> bool:
    return len(a) == len(b) and bool(a.equal(b).all())


def _well_formed(space: SearchSpace, archs: ArchitectureBatch, source: str) -> None:
    dtypes = (archs.ops.dtype, archs.adj.dtype, archs.num_nodes.dtype)
    assert dtypes == (torch.long, torch.bool, torch.long), (
        f"{source}: ops, adj and num_nodes must be int64, bool and int64, not {dtypes}"
    )
    cleared = ArchitectureBatch.masked(archs.ops, archs.adj, archs.num_nodes)
    assert _same(archs, cleared), f"{source}: padding must be clear and edges run forward"
    known = (archs.ops >= 0) & (archs.ops < len(space.op_names))
    assert bool(known.all()), f"{source}: an operation has no name"


def _members(space: SearchSpace, archs: ArchitectureBatch, source: str) -> None:
    for i in (~space.is_valid(archs)).nonzero()[:, 0].tolist():
        raise AssertionError(f"{source}: {space.invalid_reason(archs[i : i + 1])}")


def _back(archs: ArchitectureBatch, read: ArchitectureBatch, texts: list[str], source: str) -> None:
    assert len(read) == len(archs), f"{source} must return one architecture per text"
    for i in (~read.equal(archs)).nonzero()[:, 0].tolist():
        raise AssertionError(f"{source} reads another graph from {texts[i]!r} than was written")
