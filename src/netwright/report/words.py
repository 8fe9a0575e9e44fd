"""Numbers as people write them."""

import math

DASH = "–"  # noqa: RUF001 (an en dash is meant: no value)


def number(value: float | None) -> str:
    """Write a quantity: whole numbers with separators, others to about five digits."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3e}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.5g}"


def score(value: float | None) -> str:
    """Write a score: four decimals if it is of the usual size, so that a column lines up."""
    usual = value is not None and 1e-3 <= abs(value) < 10
    whole = value is not None and abs(value) > 1 and float(value).is_integer()
    return f"{value:.4f}" if usual and not whole else number(value)


def spread(value: float) -> str:
    """Write a standard deviation: two digits that count, no more than scores have."""
    if value != 0 and math.isfinite(value) and 1e-4 <= abs(value) < 10:
        return f"{value:.4f}"
    return number(value) if not math.isfinite(value) or value == 0 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Write a time in the two units that matter."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(seconds)
    first = next(i for i, (_, size) in enumerate(units) if left >= size)
    parts = []
    for name, size in units[first : first + 2]:
        count, left = divmod(left, size)
        parts += [f"{count:,} {name}"] if count else []
    return " ".join(parts)


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def short(text: str, length: int) -> str:
    """Cut a text to at most ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
