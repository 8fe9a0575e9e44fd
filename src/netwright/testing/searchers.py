"""The contract of searchers, as checks to run on your own.

::

    from netwright.testing.searchers import SEARCHER_CHECKS

    @pytest.mark.parametrize("check", SEARCHER_CHECKS.values(), ids=SEARCHER_CHECKS.keys())
    def test_my_searcher(check):
        check(lambda space, rng: MySearcher(space, ...))

The checks search the toy space, whose 27 architectures can be exhausted. `check_improves` is for
searchers that learn from scores.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.evaluation import Evaluation
from netwright.graphs.batch import ArchitectureBatch
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.search import search
from netwright.searchers.base import Proposals, Searcher
from netwright.spaces.base import SearchSpace
from netwright.spaces.toy import Toy


@runtime_checkable
class Make(Protocol):
    """Makes a fresh searcher, always the same one for the same ``rng``."""

    def __call__(self, space: SearchSpace, *, rng: torch.Generator) -> Searcher:
        """Return a searcher over ``space`` whose initial parameters are drawn from ``rng``."""
        ...


Check = Callable[[Make], None]
_Score = Callable[[ArchitectureBatch], Tensor]

_SPACE = Toy()
_SIZE = 27


def quality(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    """The separable objective of the checks: the mean index of the operations, as a fraction."""
    return archs.ops[:, :3].sum(dim=1) / 6


def partly_failing(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    """`quality`, failing on the nine architectures that start with operation 0."""
    return quality(archs).masked_fill(archs.ops[:, 0] == 0, torch.nan)


def always_failing(archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
    """An evaluator that never succeeds."""
    return torch.full((len(archs),), torch.nan)


def check_protocol(make: Make) -> None:
    """A searcher is a `Searcher`."""
    assert isinstance(_new(make), Searcher), (
        "a searcher needs `ask`, `tell`, `state_dict`, `load_state_dict` and `stats`"
    )


def check_valid_and_new(make: Make) -> None:
    """Proposals are valid, as many as asked for, named by origin and never repeated."""
    searcher, rng, seen = _new(make), stream(0, "searcher"), set[str]()
    for n in (1, 4, 7, 1, 5):
        proposals = searcher.ask(n, rng=rng)
        assert len(proposals) == n, f"{len(proposals)} proposals for {n} asked"
        assert all(proposals.origin), "every proposal needs a word for its origin"
        _check_new(proposals, seen)
        searcher.tell(proposals.archs, quality(proposals.archs), rng=rng)
    assert len(searcher.ask(0, rng=rng)) == 0, "proposals although none were asked for"


def check_new_before_told(make: Make) -> None:
    """Proposals do not repeat those still being evaluated; scores may come late, in any order."""
    searcher, rng, seen = _new(make), stream(0, "searcher"), set[str]()
    waiting: list[ArchitectureBatch] = []
    for step in range(20):
        proposals = searcher.ask(1, rng=rng)
        _check_new(proposals, seen)
        waiting.append(proposals.archs)
        if step % 4 == 3:
            late = waiting.pop()  # the newest first
            searcher.tell(late, quality(late), rng=rng)


def check_exhaustion(make: Make) -> None:
    """The whole space is proposed before an `ask` comes back short, and then nothing more."""
    for n in (4, 100):
        searcher, rng, seen = _new(make), stream(0, "searcher"), set[str]()
        while len(seen) < _SIZE:
            before = len(seen)
            proposals = searcher.ask(n, rng=rng)
            _check_new(proposals, seen)
            wanted = min(n, _SIZE - before)
            assert len(seen) - before == wanted, f"{before} of {_SIZE} proposed, then too few"
            searcher.tell(proposals.archs, quality(proposals.archs), rng=rng)
        assert len(searcher.ask(n, rng=rng)) == 0, f"more than {_SIZE} distinct architectures"


def check_seed_decides_everything(make: Make) -> None:
    """Equal random streams give equal searches, other streams others; nothing else is used."""
    before = torch.get_rng_state()
    first, again, other = (_search(make, quality, seed=s, budget=12) for s in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"
    assert _texts(first) == _texts(again), "one seed gave two searches: use `rng` for all chance"
    assert _texts(first) != _texts(other), "two seeds gave one search: `rng` is not used"
    opening = [_new(make).ask(6, rng=stream(seed, "searcher")).archs for seed in (3, 4)]
    assert _texts(opening[0]) != _texts(opening[1]), "`ask` does not use its `rng`"


def check_state(make: Make) -> None:
    """A searcher restored at any step, by way of the disk, goes on bit for bit."""
    for cut in (0, 2, 5):
        searcher, rng = _new(make), stream(0, "searcher")
        _steps(searcher, rng, cut)
        state, random_state = searcher.state_dict(), rng.get_state()
        frozen = _through_disk(state)
        expected = _steps(searcher, rng, 3), _through_disk(searcher.state_dict())
        assert _same(state, frozen), "`state_dict` returned tensors that the searcher goes on using"
        restored = make(_SPACE, rng=stream(99, "another start"))
        _steps(restored, stream(99, "other proposals"), 2)
        restored.load_state_dict(frozen)
        rng.set_state(random_state)
        found = _steps(restored, rng, 3)
        assert found == expected[0], f"restored after {cut} steps, it proposed otherwise"
        assert _same(_through_disk(restored.state_dict()), expected[1]), "the states differ"
        assert restored.stats() == searcher.stats(), "the statistics are not restored"


def check_failures(make: Make) -> None:
    """Failed evaluations, some or all, do not stop a search."""
    for score in (always_failing, partly_failing):
        found = _search(make, score, seed=0)
        assert len(found) == 24, f"{len(found)} of 24 evaluations"


def check_foreign_results(make: Make) -> None:
    """Results of architectures never asked for are accepted, in any padding, more than once."""
    known = _SPACE.enumerate()[torch.arange(0, _SIZE, 3)]
    for parts in ([known], [known[i : i + 1].pad(5) for i in range(len(known))]):
        searcher, rng, seen = _new(make), stream(0, "searcher"), set[str]()
        for part in (*parts, parts[0], ArchitectureBatch.empty(3)):
            searcher.tell(part, quality(part), rng=rng)
        seen.update(_SPACE.to_text(known))
        proposals = searcher.ask(_SIZE, rng=rng)
        _check_new(proposals, seen)
        assert len(proposals) == _SIZE - len(known), "told architectures count as seen, no others"


def check_stats(make: Make) -> None:
    """Statistics are finite floats at any time, and asking for them changes nothing."""
    for score in (quality, partly_failing, always_failing):
        searcher, rng = _new(make), stream(0, "searcher")
        for _ in range(5):
            _check_finite(searcher)
            before = _through_disk(searcher.state_dict())
            proposals = searcher.ask(3, rng=rng)
            _check_finite(searcher)
            searcher.tell(proposals.archs, score(proposals.archs), rng=rng)
            told = _through_disk(searcher.state_dict())
            _check_finite(searcher)
            assert _same(told, _through_disk(searcher.state_dict())), "`stats` changed the searcher"
            assert not _same(told, before), "`ask` and `tell` left no trace in the state"


def check_improves(make: Make) -> None:
    """Proposals get better, by more than chance explains, whichever way better lies.

    The mean true score of evaluations 10 to 15 of 20 searches for `quality` and its opposite, half
    of them with failures. Random proposals reach 0.5 with a standard deviation of 0.019 (the mean
    of six draws without replacement has one of 0.087), and more than 0.57 once in 6,000 times. A
    searcher with a taste of its own, whatever the scores, reaches 0.5 as well.
    """
    scores = []
    for seed in range(5):
        for score in (quality, partly_failing):
            archs = _search(make, score, seed=seed, budget=15)
            scores.append(quality(archs[9:]))
            archs = _search(make, partial(_opposite, score), seed=seed, budget=15)
            scores.append(_opposite(quality, archs[9:]))
    reached = float(torch.cat(scores).mean())
    assert reached > 0.57, f"mean score {reached:.3f} after learning; chance reaches 0.57"


#: Every check that all searchers must pass, by name.
SEARCHER_CHECKS: dict[str, Check] = {
    "protocol": check_protocol,
    "valid and new": check_valid_and_new,
    "new before told": check_new_before_told,
    "exhaustion": check_exhaustion,
    "seed decides everything": check_seed_decides_everything,
    "state": check_state,
    "failures": check_failures,
    "foreign results": check_foreign_results,
    "stats": check_stats,
}


def check_searcher(make: Make, *, learns: bool = False) -> None:
    """Run all checks; ``learns`` adds `check_improves`.

    Raises:
        AssertionError: At the first check that fails, with what is wrong.
    """
    for check in SEARCHER_CHECKS.values():
        check(make)
    if learns:
        check_improves(make)


def _opposite(score: _Score, archs: ArchitectureBatch) -> Tensor:
    return 1 - score(archs)


def _new(make: Make) -> Searcher:
    return make(_SPACE, rng=stream(0, "start"))


def _texts(archs: ArchitectureBatch) -> list[str]:
    return list(_SPACE.to_text(archs))


def _check_new(proposals: Proposals, seen: set[str]) -> None:
    assert _SPACE.is_valid(proposals.archs).all(), "invalid proposals"
    for text in _texts(proposals.archs):
        assert text not in seen, f"{text} was proposed or told before"
        seen.add(text)


def _check_finite(searcher: Searcher) -> None:
    for name, value in searcher.stats().items():
        assert isinstance(value, float), f"statistic {name!r} is no float: {value!r}"
        assert math.isfinite(value), f"statistic {name!r} is {value}"


def _steps(searcher: Searcher, rng: torch.Generator, steps: int) -> list[list[str]]:
    """Ask for three and tell, ``steps`` times; return what was proposed."""
    proposed = []
    for _ in range(steps):
        archs = searcher.ask(3, rng=rng).archs
        searcher.tell(archs, partly_failing(archs), rng=rng)
        proposed.append(_texts(archs))
    return proposed


def _search(make: Make, score: _Score, *, seed: int, budget: int = 24) -> ArchitectureBatch:
    """Run the real loop; return what was evaluated, in order."""
    searcher = make(_SPACE, rng=stream(seed, "start"))
    loop = search(searcher, _Scores(score), budget=budget, batch_size=3, seed=seed)
    return ArchitectureBatch.cat([c.proposals.archs for c in loop if isinstance(c, Chunk)])


class _Scores:
    """A function of architectures as an evaluator; its extras would give a searcher away."""

    chunk = 1000

    def __init__(self, score: _Score) -> None:
        self._score = score

    def __call__(self, archs: ArchitectureBatch, *, rngs: Any) -> Evaluation:
        del rngs
        score = self._score(archs)
        error = tuple("failed" if failed else None for failed in score.isnan().tolist())
        return Evaluation(score, torch.ones(len(archs)), {"secret": -quality(archs)}, error)


def _through_disk(tree: Any) -> Any:
    """What a checkpoint makes of a state: copied tensors, and JSON for the rest.

    Raises:
        TypeError: If the state holds something else.
    """
    if isinstance(tree, Tensor):
        return tree.detach().cpu().clone()
    if isinstance(tree, dict):
        return {str(name): _through_disk(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_through_disk(value) for value in tree]
    return json.loads(json.dumps(tree))


def _same(a: Any, b: Any) -> bool:
    a, b = (tree if isinstance(tree, Tensor) else _plain(tree) for tree in (a, b))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and _equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Tell whether tensors are the same, NaN being the same as NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(name): value for name, value in tree.items()}
    return list(tree) if isinstance(tree, tuple) else tree
