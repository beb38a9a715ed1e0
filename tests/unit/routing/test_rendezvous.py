"""Tests that rendezvous hashing spreads keys evenly and moves as few of them as possible."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.routing.rendezvous import Rendezvous

MEMBERS = [b"member %d" % number for number in range(7)]
KEYS = [b"conversation %d" % number for number in range(8000)]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_keys_are_spread_evenly_at_every_rank(count):
    one = Rendezvous(MEMBERS[:count])
    orders = [one.order(key) for key in KEYS]
    for rank in range(count):
        shares = collections.Counter(order[rank] for order in orders)
        assert sorted(shares) == list(range(count))
        for share in shares.values():
            assert share == pytest.approx(len(KEYS) / count, rel=0.1)


@pytest.mark.parametrize("lost", range(4))
def test_without_a_member_only_its_keys_move_and_evenly(lost):
    before, after = Rendezvous(MEMBERS[:4]), Rendezvous([one for one in MEMBERS[:4] if one != MEMBERS[lost]])
    remaining = [position for position in range(4) if position != lost]
    moved = collections.Counter()
    for key in KEYS:
        was, now = before.first(key), remaining[after.first(key)]
        if was == lost:
            assert now == before.order(key)[1]
            moved[now] += 1
        else:
            assert now == was
    for share in moved.values():
        assert share == pytest.approx(len(KEYS) / 12, rel=0.15)


@given(st.permutations(range(5)), st.binary(max_size=50))
def test_the_order_of_the_members_makes_no_difference(order, key):
    one, other = Rendezvous(MEMBERS[:5]), Rendezvous([MEMBERS[position] for position in order])
    assert one.order(key) == [order[position] for position in other.order(key)]
    assert one.first(key) == one.order(key)[0]


def test_the_choice_is_the_same_in_every_process():
    chosen = [Rendezvous(MEMBERS[:4]).first(key) for key in KEYS[:12]]
    assert chosen == [3, 0, 0, 1, 3, 0, 3, 3, 0, 0, 3, 2]
