"""Transition tables for the kernel "tabular", read from Gymnasium's own environment objects.

Where Gymnasium keeps its transitions in `P`, they are copied: their order and multiplicity too, so that the
same uniform number selects the same outcome. What else an environment remembers (Taxi's fickle passenger,
Blackjack's hands) becomes part of the state's number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpg._core import Table


class _Outcome(NamedTuple):
    """One entry of a row of a table."""

    weight: float  # its probability
    next: int
    reward: float
    terminated: bool
    probability: float  # what Gymnasium's info["prob"] says


def _table(
    rows: Sequence[Sequence[Sequence[_Outcome]]],
    starts: Iterable[tuple[int, float]],
    obs: ArrayLike,
    obs_categories: tuple[int, ...],
) -> Table:
    """Assemble rows[state][action], (state, probability) pairs and observations (obs_size, num_states)."""
    max_outcomes = max(len(outcomes) for row in rows for outcomes in row)
    nothing = _Outcome(0.0, 0, 0.0, False, 0.0)
    padded = [[[*outcomes, *[nothing] * (max_outcomes - len(outcomes))] for outcomes in row] for row in rows]
    columns = np.ascontiguousarray(np.moveaxis(np.array(padded, np.float64), -1, 0))
    weight, following, reward, terminated, probability = columns
    possible = np.array([(state, chance) for state, chance in starts if chance > 0], np.float64)
    return Table(
        cumulative=np.cumsum(weight, axis=-1),
        next=following,
        reward=reward,
        terminated=terminated,
        probability=probability,
        start_cumulative=np.cumsum(possible[:, 1]),
        start=possible[:, 0].copy(),
        obs=np.array(obs, np.float64),
        obs_categories=obs_categories,
    )


def from_transitions(env: Any) -> Table:
    """Return the table of an environment with Gymnasium's `P` and `initial_state_distrib`."""
    rows = [
        [
            [
                _Outcome(probability, following, reward, terminated, probability)
                for probability, following, reward, terminated in env.P[state][action]
            ]
            for action in range(len(env.P[state]))
        ]
        for state in range(len(env.P))
    ]
    return _table(rows, enumerate(env.initial_state_distrib), [range(len(rows))], (len(rows),))


def taxi(env: Any) -> Table:
    """Return Taxi's table; the states of a passenger who will change their mind follow the others.

    TaxiEnv.step: on the first move with the passenger in the taxi, the destination becomes another one. Its
    info["prob"] is that of the move alone.
    """
    if not _is_fickle(env):
        return from_transitions(env)
    num_states = len(env.P)

    def outcomes(state: int, action: int, fickle: bool) -> list[_Outcome]:
        row, column, passenger, destination = env.decode(state)
        others = [place for place in range(len(env.locs)) if place != destination]
        result = []
        for probability, following, reward, terminated in env.P[state][action]:
            new_row, new_column, new_passenger, _ = env.decode(following)
            if fickle and passenger == len(env.locs) and (new_row, new_column) != (row, column):
                result += [
                    _Outcome(
                        probability / len(others),
                        env.encode(new_row, new_column, new_passenger, place),
                        reward,
                        terminated,
                        probability,
                    )
                    for place in others
                ]
            else:
                following += num_states * fickle
                result.append(_Outcome(probability, following, reward, terminated, probability))
        return result

    rows = [
        [outcomes(state, action, fickle) for action in range(len(env.P[state]))]
        for fickle in (False, True)
        for state in range(num_states)
    ]
    starts = [
        (state + num_states * fickle, chance * share)
        for fickle, share in ((False, 1.0 - env.fickle_probability), (True, env.fickle_probability))
        for state, chance in enumerate(env.initial_state_distrib)
    ]
    return _table(rows, starts, [[*range(num_states)] * 2], (num_states,))


def taxi_infos(env: Any) -> Mapping[str, NDArray[np.int8]]:
    """Return what Taxi's info says of each of the table's states."""
    masks = np.array([env.action_mask(state) for state in range(len(env.P))], np.int8)
    return {"action_mask": np.tile(masks, (1 + _is_fickle(env), 1))}


def _is_fickle(env: Any) -> bool:
    """Return whether the passenger may change their mind, which older versions of Taxi do not know."""
    return bool(getattr(env, "fickle_passenger", False))


_STICK = 0
_Hand = tuple[int, ...]


def blackjack(env: Any) -> Table:
    """Return Blackjack's table: a state is the player's hand and the dealer's open card.

    The dealer's hidden card is drawn when the player sticks, not at the reset: nothing shows it before. What
    Gymnasium leaves open, steps after the end of an episode, changes nothing for a player who is bust, and
    lets the dealer play again for one who has stuck.
    """
    rules: Any = import_module(type(env).__module__)
    deck = [(card, count / len(rules.deck)) for card, count in Counter(rules.deck).items()]
    hands: dict[tuple[int, bool, bool], _Hand] = {}

    def same(*hand: int) -> _Hand:
        """Return the one hand that stands for all that the rules treat alike, from two cards on."""
        return hands.setdefault((sum(hand), 1 in hand, rules.is_natural(hand)), hand)

    @cache
    def ends(dealer: _Hand) -> Mapping[_Hand, float]:
        """Return the hands that a dealer with these cards may end with, and their probabilities."""
        if len(dealer) > 1 and rules.sum_hand(dealer) >= 17:
            return {dealer: 1.0}
        result: defaultdict[_Hand, float] = defaultdict(float)
        for card, chance in deck:
            for end, share in ends(same(*dealer, card)).items():
                result[end] += chance * share
        return result

    @cache
    def reward_of_sticking(player: _Hand, dealer: _Hand) -> float:
        """Return what Gymnasium's own step gives; this dealer draws no more cards."""
        env.player, env.dealer = list(player), list(dealer)
        return float(env.step(_STICK)[1])

    starts: defaultdict[tuple[_Hand, int], float] = defaultdict(float)
    for (first, p), (second, q), (shown, r) in product(deck, repeat=3):
        starts[same(first, second), shown] += p * q * r
    states = list(starts)  # and those that hits lead to, as they are found
    number = {state: n for n, state in enumerate(states)}
    rows = []
    for here, (player, shown) in enumerate(states):
        if rules.is_bust(player):
            rows.append([[_Outcome(1.0, here, 0.0, True, 1.0)]] * 2)
            continue
        rewards: defaultdict[float, float] = defaultdict(float)
        for dealer, chance in ends((shown,)).items():
            rewards[reward_of_sticking(player, dealer)] += chance
        stick = [_Outcome(chance, here, reward, True, chance) for reward, chance in sorted(rewards.items())]
        hit = []
        for card, chance in deck:
            state = (same(*player, card), shown)
            if state not in number:
                number[state] = len(states)
                states.append(state)
            bust = rules.is_bust(state[0])
            hit.append(_Outcome(chance, number[state], -1.0 if bust else 0.0, bust, chance))
        rows.append([stick, hit])
    obs = [(rules.sum_hand(player), shown, rules.usable_ace(player)) for player, shown in states]
    return _table(
        rows,
        enumerate(starts.values()),
        np.transpose(obs),
        tuple(int(space.n) for space in env.observation_space.spaces),
    )
