"""Training, validation and test splits that never divide an event.

The split of a row is a function of (run, luminosity block, event) alone: all jets of an event share
it, in every file, every dataset and every year to come. Changing the arithmetic here would move
events from one split to another, so tests pin its values.
"""

import numpy as np
from numpy.typing import NDArray

from treasure.config.splits import Splits

__all__ = ["SPLITS", "assign_split", "event_hash"]

SPLITS = ("train", "val", "test")

# SplitMix64: Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195, with the constants of
# Stafford's variant 13, as in java.util.SplittableRandom.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * _MULTIPLIER_1
    word = (word ^ (word >> np.uint64(27))) * _MULTIPLIER_2
    return word ^ (word >> np.uint64(31))


def event_hash(event_info: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64-bit hash of an event: ``state = mix((state ^ word) + gamma)`` over its three numbers.

    Parameters
    ----------
    event_info
        int64, shape (n, 3): run, luminosity block, event.

    Returns
    -------
    uint64, shape (n,), uniform over all 64-bit integers.
    """
    words = np.asarray(event_info)
    if words.ndim != 2 or words.shape[1] != 3:
        raise ValueError(f"event_info has shape {words.shape}; expected (n, 3)")
    bits: NDArray[np.uint64] = words.astype(np.int64).astype(np.uint64)  # modulo 2**64
    state: NDArray[np.uint64] = np.zeros(len(bits), np.uint64)
    for column in range(3):
        state = _mix(np.add(state ^ bits[:, column], _GAMMA))
    return state


def assign_split(event_info: NDArray[np.int64], splits: Splits) -> NDArray[np.int8]:
    """Split of each row: 0 train, 1 val, 2 test (positions in `SPLITS`).

    Parameters
    ----------
    event_info
        int64, shape (n, 3): run, luminosity block, event.
    splits
        Expected shares. A larger `train` only takes events from `val`, then from `test`.

    Returns
    -------
    int8, shape (n,).
    """
    # 53 bits fit a double exactly: u is in [0, 1).
    uniform = (event_hash(event_info) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    shares = np.array([splits.train, splits.val, splits.test])
    edges = np.cumsum(shares)
    # Rounding must not open a gap above the last split that has a share.
    edges[np.flatnonzero(shares)[-1] :] = 1.0
    return np.searchsorted(edges[:-1], uniform, side="right").astype(np.int8)
