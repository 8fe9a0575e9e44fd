"""The page of a latent space: a single HTML file that opens offline ([SVGe] section IV-B)."""

from pathlib import Path

from netwright.files import write_atomic
from netwright.report import latent_sections as sections
from netwright.report.document import document
from netwright.report.latent_views import LatentPage, Lines, Metric, Plane
from netwright.spaces.base import SearchSpace

__all__ = ["LatentPage", "Lines", "Metric", "Plane", "latent_html", "write_latent_report"]


def write_latent_report(page: LatentPage, space: SearchSpace, path: Path) -> Path:
    """Write the page of `latent_html` to ``path`` and return the path.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    write_atomic(path, latent_html(page, space))
    return path


def latent_html(page: LatentPage, space: SearchSpace) -> str:
    """Return a page about the latent space of a trained generator.

    Args:
        page: What to show.
        space: The search space; names the operations, writes the graphs and tells the valid ones.
    """
    parts = [
        sections.header(page, space),
        sections.metrics(page),
        sections.training(page),
        sections.plane(page, space),
        sections.circle(page, space),
        sections.smoothness(page, space),
    ]
    return document(f"{page.method}, latent space", parts)
