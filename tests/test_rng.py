"""Named random streams, and the global state that nothing touches."""

import threading

import torch

from netwright.rng import child, scoped, stream


def test_streams_are_named_and_independent_of_order():
    a = torch.rand(4, generator=stream(0, "a"))
    stream(0, "b")
    assert torch.equal(a, torch.rand(4, generator=stream(0, "a")))
    assert not torch.equal(a, torch.rand(4, generator=stream(0, "b")))
    assert not torch.equal(a, torch.rand(4, generator=stream(1, "a")))
    assert stream(1, "1/a").initial_seed() != stream(11, "/a").initial_seed()


def test_streams_do_not_move_between_versions():
    assert stream(0, "searcher").initial_seed() == 6164408371168233164


def test_children_differ_and_follow_from_the_parent():
    parents = [stream(0, "parent") for _ in range(2)]
    families = [[child(p).initial_seed() for _ in range(3)] for p in parents]
    assert families[0] == families[1]
    assert len(set(families[0])) == 3


def test_scoped_initialisation_is_reproducible_and_contained():
    before = torch.get_rng_state()
    weights = []
    for seed in (0, 0, 1):
        with scoped(stream(seed, "init")):
            weights.append(torch.nn.Linear(2, 2).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.get_rng_state())


def test_scoped_may_be_nested():
    with scoped(stream(0, "outer")):
        expected = torch.rand(2)
    with scoped(stream(0, "outer")):
        with scoped(stream(0, "inner")):
            torch.rand(1)
        assert torch.equal(torch.rand(2), expected)


def test_threads_take_turns_with_the_global_state():
    """Two evaluations in two threads initialise their networks as each would alone."""
    before = torch.get_rng_state()
    met = threading.Barrier(2, timeout=0.2)
    found = dict[int, torch.Tensor]()

    def draw(seed: int) -> None:
        with scoped(stream(seed, "init")):
            try:
                met.wait()  # together inside the block, unless one waits for the other
            except threading.BrokenBarrierError:
                met.reset()
            found[seed] = torch.rand(3)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        with scoped(stream(seed, "init")):
            assert torch.equal(found[seed], torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())
