"""Gaussian noise that is counted by coordinates: Philox 4x32-10 (Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011), and the transform of Box and Muller (1958).
"""

import numpy as np

_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Four words of 32 bits for each counter of four words, all held in uint64. The key is raised
    by Weyl's constants between the rounds."""
    for number in range(_ROUNDS):
        keys = [np.uint64((k + number * step) % 2**32) for k, step in zip(key, _WEYL, strict=True)]
        first, second = _MULTIPLIERS[0] * counter[0], _MULTIPLIERS[1] * counter[2]
        counter = [
            second >> _HALF ^ counter[1] ^ keys[0],
            second & _LOW,
            first >> _HALF ^ counter[3] ^ keys[1],
            first & _LOW,
        ]
    return counter


def standard_normals(
    elements: np.ndarray,
    positions: np.ndarray,
    seed: int,
    intervention: int,
    layer: int | None,
    prompt: int,
) -> np.ndarray:
    """One number for each entry of a part. `elements`: the entry's number among all that its
    position has at the site, selected or not; `positions`: its position; both in the part's shape.

    The counter is (element / 4, position, (layer + 1) + 2^16 prompt, intervention), where a site
    without layers has layer -1, and the key is the seed, its lower half first. The words w are made
    numbers within (0, 1) by (w + 1/2) / 2^32. The first two make two normals by Box and Muller's
    transform (cosine, then sine), the last two another two; element % 4 says which is taken."""
    row = (0 if layer is None else layer + 1) + (prompt << 16)
    counter = [
        elements.astype(np.uint64) // np.uint64(4),
        positions.astype(np.uint64),
        np.full(elements.shape, row, np.uint64),
        np.full(elements.shape, intervention, np.uint64),
    ]
    words = philox(counter, (seed % 2**32, seed >> 32))
    first, second, third, fourth = ((word.astype(np.float64) + 0.5) / 2**32 for word in words)
    later_pair, sine = elements % 4 >= 2, elements % 2 == 1
    radius = np.sqrt(-2 * np.log(np.where(later_pair, third, first)))
    angle = 2 * np.pi * np.where(later_pair, fourth, second)
    return radius * np.where(sine, np.sin(angle), np.cos(angle))
