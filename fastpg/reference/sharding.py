"""Shards: neighbouring environments that share a mean baseline, and whose rows are shuffled together.

They depend on the number of environments only, so that threads, tiles and processes change neither.
"""

import numpy as np

from fastpg.reference.arrays import Bools, Floats, Ints
from fastpg.reference.philox import philox4x32

MINIBATCH_DRAW = 3  # FPG_DRAW_MINIBATCH: what the random numbers are for


def shard_size(num_envs: int) -> int:
    """Return the number of environments in a shard; the last shard may have fewer.

    Examples
    --------
    >>> [shard_size(n) for n in (1, 16, 17, 64, 128, 129, 1023, 1024)]
    [4, 4, 8, 16, 16, 32, 32, 64]
    """
    if num_envs >= 1024:
        return 64
    quarter = -(-num_envs // 4)
    if quarter <= 4:
        return 4
    if quarter <= 16:
        return -(-quarter // 4) * 4
    return 16 if quarter <= 32 else 32


def shards(num_envs: int) -> list[Ints]:
    """Return the environments of every shard, in order.

    Examples
    --------
    >>> [shard.tolist() for shard in shards(10)]
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """
    environments, size = np.arange(num_envs), shard_size(num_envs)
    return [environments[first : first + size] for first in range(0, num_envs, size)]


def mean_of_others(weights: Floats, valid: Bools, *, by_timestep: bool) -> Floats:
    """Return for every row the mean weight of the *other* environments of its shard, `(T, N)`.

    It is the mean over all their valid rows or, `by_timestep`, over those with the same t; 0 where none is.
    The environment's own weights are left out: what is subtracted must not depend on its actions.

    Examples
    --------
    >>> import numpy as np
    >>> weights, valid = np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[True, True], [True, False]])
    >>> mean_of_others(weights, valid, by_timestep=False).tolist()
    [[2.0, 2.0], [2.0, 2.0]]
    >>> mean_of_others(weights, valid, by_timestep=True).tolist()
    [[2.0, 1.0], [0.0, 3.0]]
    """
    result = np.zeros(weights.shape)
    axis = 1 if by_timestep else None
    for shard in shards(weights.shape[1]):
        for n in shard:
            others = shard[shard != n]
            total = np.sum(weights[:, others], axis, where=valid[:, others])
            result[:, n] = total / np.maximum(valid[:, others].sum(axis), 1)
    return result


def permutation(length: int, *, seed: int, first_env: int, iteration: int, epoch: int) -> Ints:
    """Return in which order an epoch takes the rows of the shard that begins with `first_env`.

    The shuffle of Fisher and Yates: for j from the last entry down to 1, entry j is swapped with one of the
    entries 0..j. Word j of the shard's stream chooses it: word j % 4 of the block of Philox with the counter
    (first_env, j // 4, iteration, MINIBATCH_DRAW + 256 epoch) and the key `seed`, both in 32-bit words.

    References
    ----------
    Durstenfeld, "Algorithm 235: random permutation", 1964.
    """
    numbers = [first_env, 0, iteration, MINIBATCH_DRAW | epoch << 8]
    counters = np.tile(np.array([number % 2**32 for number in numbers], np.uint32), (-(-length // 4), 1))
    counters[:, 1] = np.arange(len(counters))
    words = philox4x32(counters, np.array([seed % 2**32, seed >> 32], np.uint32)).ravel()
    order = np.arange(length)
    for j in range(length - 1, 0, -1):
        k = int(words[j]) * (j + 1) >> 32
        order[[j, k]] = order[[k, j]]
    return order


def minibatches(valid: Bools, count: int, *, seed: int, iteration: int, epoch: int) -> list[Ints]:
    """Return the rows of each of an epoch's `count` minibatches, as indices into `(T, N)` laid out flat.

    The valid rows of a shard, R of them in order of (t, environment), are shuffled; minibatch m takes those
    from floor(R m / count) to floor(R (m + 1) / count) of every shard, shards in order. A single minibatch is
    not shuffled.

    Examples
    --------
    >>> import numpy as np
    >>> valid = np.array([[True, True], [False, True]])
    >>> [rows.tolist() for rows in minibatches(valid, 1, seed=0, iteration=0, epoch=0)]
    [[0, 1, 3]]
    """
    taken: list[list[Ints]] = [[] for _ in range(count)]
    index = np.arange(valid.size).reshape(valid.shape)
    for shard in shards(valid.shape[1]):
        rows = index[:, shard][valid[:, shard]]
        if count > 1:
            first = int(shard[0])
            rows = rows[permutation(len(rows), seed=seed, first_env=first, iteration=iteration, epoch=epoch)]
        for m in range(count):
            taken[m].append(rows[len(rows) * m // count : len(rows) * (m + 1) // count])
    return [np.concatenate(parts) for parts in taken]
