"""The counter-based noise of the contract, in numpy: Philox 4x32-10 (Salmon et al. 2011), then Box
and Muller's transform."""

import numpy as np

from tests.parity import places

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)


def philox(counter: np.ndarray, seed: int) -> np.ndarray:
    """Ten rounds over `counter` [n, 4], with the 64 bits of `seed` as the key: [n, 4], uint32 held
    in uint64."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        products = (_MULTIPLIERS[0] * c[0], _MULTIPLIERS[1] * c[2])
        high = [product >> np.uint64(32) for product in products]
        low = [product & _LOW for product in products]
        c = [high[1] ^ c[1] ^ np.uint64(key[0]), low[1], high[0] ^ c[3] ^ np.uint64(key[1]), low[0]]
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, _WEYL, strict=True)]
    return np.stack(c, axis=1)


def normals(counter: np.ndarray, seed: int) -> np.ndarray:
    """Four standard normals for each counter: [n, 4]."""
    u = (philox(counter, seed).astype(np.float64) + 0.5) * 2.0**-32
    radius = np.sqrt(-2 * np.log(u[:, 0::2]))
    angle = 2 * np.pi * u[:, 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(-1, 4)


def noise(
    site: int,
    region: list[np.ndarray],
    inner: int,
    *,
    seed: int,
    intervention: int,
    layer: int,
    prompt: int,
    mean: float,
    std: float,
) -> np.ndarray:
    """mean + std * z over the region, float32. `inner`: length of the site's last axis.

    The counter is (element // 4, position, layer + 1 | prompt << 16, intervention), where elements
    are numbered over all that a position has in the whole site, selected or not, so that a
    selection does not shift the noise.
    """
    mesh = np.meshgrid(*region, indexing="ij")
    if site in places.ATTENTION_SITES:
        head, position, unit = mesh
        element = head * inner + unit
    elif len(mesh) == 3:
        position, head, unit = mesh
        element = head * inner + unit
    else:
        position, element = mesh
    position, element = position.ravel(), element.ravel()
    counter = np.stack(
        [
            element // 4,
            position,
            np.full_like(position, (layer + 1) | prompt << 16),
            np.full_like(position, intervention),
        ],
        axis=1,
    )
    z = normals(counter, seed)[np.arange(len(element)), element % 4]
    return (mean + std * z).astype(np.float32).reshape(mesh[0].shape)
