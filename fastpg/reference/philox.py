"""Random numbers: Philox, the generator by counters."""

import numpy as np

from fastpg.reference.arrays import Words


def philox4x32(counter: Words, key: Words) -> Words:
    """Return a block of Philox4x32-10.

    Parameters
    ----------
    counter : uint32 array, shape (..., 4)
    key : uint32 array, shape (..., 2)

    Returns
    -------
    uint32 array, shape (..., 4)

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import numpy as np
    >>> [hex(word) for word in philox4x32(np.zeros(4, np.uint32), np.zeros(2, np.uint32))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    low_word = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (key[..., i].astype(np.uint64) for i in range(2))
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> np.uint64(32)) ^ c1 ^ k0,
            product1 & low_word,
            (product0 >> np.uint64(32)) ^ c3 ^ k1,
            product0 & low_word,
        )
        k0 = (k0 + np.uint64(0x9E3779B9)) & low_word
        k1 = (k1 + np.uint64(0xBB67AE85)) & low_word
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1).astype(np.uint32)
