"""Randomness: named, independent streams and nothing global."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_GLOBAL_STATE = threading.RLock()


def stream(seed: int, name: str) -> torch.Generator:
    """Return the random stream called ``name`` of experiment ``seed``.

    Streams are derived by name, not by order, so adding a consumer never shifts the others.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def child(rng: torch.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new stream on ``device``, seeded by one draw from ``rng`` (a CPU generator)."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=rng)))


@contextmanager
def scoped(rng: torch.Generator) -> Iterator[None]:
    """Seed torch's global state from ``rng`` inside the block, and restore it after.

    For the few torch features that accept no generator: parameter initialisation, dropout. The
    state belongs to the whole process, so threads take turns; within one thread blocks nest.
    """
    seed = int(torch.randint(2**62, (), generator=rng))
    with _GLOBAL_STATE, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
