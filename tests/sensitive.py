"""A noisy evaluator, and searchers that show whether a search is what it should be."""

import math
import time

import torch

from netwright.evaluation import Evaluation
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.toy import Toy

SPACE = Toy()
ALL = SPACE.enumerate()


class Noisy:
    """Scores with noise from the evaluation's own stream; some fail."""

    def __init__(self, chunk=1, delay=None):
        self.chunk, self.delay, self.calls = chunk, delay, []

    def __call__(self, archs, *, rngs):
        assert len(archs) == len(rngs)
        self.calls.append([rng.initial_seed() for rng in rngs])
        noise = torch.cat([torch.rand(1, generator=rng) for rng in rngs])
        if self.delay is not None:
            time.sleep(self.delay(noise))
        failed = (archs.ops[:, 0] == 0) & (archs.ops[:, 1] == 1)
        score = (archs.ops[:, :3].sum(dim=1) / 6 + 0.1 * noise).masked_fill(failed, torch.nan)
        error = tuple("diverged" if bad else None for bad in failed.tolist())
        return Evaluation(score, torch.ones(len(archs)), {"noise": noise}, error)

    @property
    def paid(self):
        return [seed for call in self.calls for seed in call]


class Sensitive:
    """Proposes what depends on every bit of every score told, and on their order."""

    def __init__(self, *, fresh=True, salt=0.0):
        self.memory, self.fresh, self.told = torch.tensor([1.0, salt]), fresh, []
        self.seen = Fresh(SPACE)

    def ask(self, n, *, rng):
        def draw(m):
            torch.rand(1, generator=rng)
            mixed = torch.Generator().manual_seed(
                int(torch.randint(2**31, (), generator=rng)) ^ int(self.memory.sum() * 2**20)
            )
            return Proposals.of(SPACE.sample(m, rng=mixed), "sensitive")

        if not self.fresh:
            return draw(n)
        found = self.seen.fill(n, draw)
        return Proposals.cat([found, self.seen.random(n - len(found), rng=rng)])

    def tell(self, archs, score, *, rng):
        torch.rand(1, generator=rng)
        for text, value in zip(SPACE.to_text(archs), score.tolist(), strict=True):
            self.memory[0] = self.memory[0] * 0.7 + (0.0 if math.isnan(value) else value)
            self.told.append((text, value))
        self.seen.add(archs)

    def state_dict(self):
        return {"memory": self.memory.clone(), "seen": self.seen.state_dict()}

    def load_state_dict(self, state):
        self.memory = state["memory"].clone()
        self.seen.load_state_dict(state["seen"])

    def stats(self):
        return {"memory": float(self.memory[0])}


class Scripted(Sensitive):
    """Proposes architectures of the toy space by number; the last list again and again."""

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)

    def ask(self, n, *, rng):
        del n, rng
        rows = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return Proposals.of(ALL[torch.tensor(rows, dtype=torch.long)], "script")
