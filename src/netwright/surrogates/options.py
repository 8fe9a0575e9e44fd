"""What kind of Gaussian process: settings, apart from the packages that fit it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GPOptions:
    """What kind of Gaussian process.

    Attributes:
        kernel: "matern", with smoothness 5/2, or "rbf".
        ard: Whether each latent dimension has a lengthscale of its own.
        inducing: Number of inducing points; the process is exact where there are no more points
            than that, or if None.
        subset: The kernel's parameters are fitted to no more than so many points, drawn at random.
        iterations: Of L-BFGS, at most.
    """

    kernel: Literal["matern", "rbf"] = "matern"
    ard: bool = False
    inducing: int | None = None
    subset: int = 500
    iterations: int = 100

    def __post_init__(self) -> None:
        for name in ("inducing", "subset", "iterations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
