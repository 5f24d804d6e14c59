"""The progress of a part of some work, as its share of the whole."""

from collections.abc import Callable, Mapping

__all__ = ["part_of"]

Progress = Callable[[int, int], None]


def part_of(progress: Progress | None, shares: Mapping[str, int], part: str) -> Progress | None:
    """Return a callback that tells of a part of the work what it means for the whole.

    Parameters
    ----------
    progress : callable, optional
        Called with (done, total), in percent. None: nothing is told.
    shares : mapping of str to int
        Parts in their order, and the percents of the time that each takes.
    part : str
    """
    if progress is None:
        return None
    names = list(shares)
    before = sum(shares[name] for name in names[: names.index(part)])

    def report(done: int, total: int) -> None:
        progress(round(before + shares[part] * done / max(total, 1)), 100)

    return report
