"""Tests which credentials cool down, for which models and until when, and that client keys cannot fill the memory."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nulpoint.routing import cooldowns
from nulpoint.routing.cooldowns import DEFAULT_SECONDS, MAX_SECONDS, REFUSED_SECONDS, Cooldowns


def test_cooldown_durations():
    assert (MAX_SECONDS, DEFAULT_SECONDS, REFUSED_SECONDS) == (300, 60, 300)


@pytest.mark.parametrize(
    ("named", "seconds"), [(None, 60), (1, 1), (0.25, 0.25), (299.5, 299.5), (300, 300), (301, 300), (1e9, 300)]
)
def test_a_rate_limit_cools_down_as_long_as_the_provider_says_up_to_a_limit(named, seconds):
    one = Cooldowns()
    one.rate_limited(0, "m", named, 100)
    assert one.end_of(0, "m", 100) == 100 + seconds
    assert one.end_of(0, "m", 100 + seconds - 0.1) == 100 + seconds
    assert one.end_of(0, "m", 100 + seconds) == 0


# (time, event, cooldowns of: credential 0 for model a, credential 0 for model b, credential 1 for model a)
SCRIPT = [
    (0, None, "---"),
    (0, ("limited", 0, "a", 10), "a--"),
    (5, ("limited", 1, "a", 100), "a-1"),
    (10, None, "--1"),
    (20, ("refused", 0), "ab1"),
    (30, ("limited", 0, "a", 1), "ab1"),  # refused for all models, and for longer
    (105, None, "ab-"),
    (319.9, None, "ab-"),
    (320, None, "---"),
    (400, ("limited", 0, "a", 50), "a--"),
    (401, ("limited", 0, "a", 5), "a--"),  # the newest cooldown counts
    (406, None, "---"),
]


def test_a_credential_cools_down_for_one_model_or_for_all():
    one = Cooldowns()
    for now, event, expected in SCRIPT:
        if event is not None and event[0] == "limited":
            one.rate_limited(*event[1:], now)
        elif event is not None:
            one.credential_refused(event[1], "", now)
        shown = [
            letter if one.end_of(credential, model, now) else "-"
            for letter, credential, model in [("a", 0, "a"), ("b", 0, "b"), ("1", 1, "a")]
        ]
        assert "".join(shown) == expected, now


def test_the_number_of_cooldowns():
    one = Cooldowns()
    one.rate_limited(0, "a", 10, 0)
    one.rate_limited(0, "b", 20, 0)
    one.credential_refused(1, "", 0)
    assert [one.active(now) for now in (0, 10, 20, 300)] == [3, 2, 1, 0]


def test_ended_cooldowns_are_cleared():
    one = Cooldowns()
    assert not one.maybe_active
    one.rate_limited(0, "a", 10, 0)
    one.rate_limited(0, "b", 5, 0)
    assert one.end_of(0, "b", 7) == 0
    assert one.maybe_active
    assert one.end_of(0, "c", 10) == 0
    assert not one.maybe_active
    one.credential_refused(0, "", 11)
    assert one.maybe_active


def test_client_keys_take_limited_memory():
    one = Cooldowns()
    for number in range(10_000):
        one.rate_limited(number.to_bytes(32, "big"), "m", 300, 0)
    assert len(one._ends) == cooldowns._MAX_ENTRIES
    one.credential_refused(0, "", 1)
    one.rate_limited(1, "m", 10, 1)
    assert one.end_of(0, "m", 1) == 301
    assert one.end_of(1, "m", 1) == 11
    assert one.active(1) == cooldowns._MAX_ENTRIES
    one.rate_limited(1, "m", 20, 2)  # replacing a cooldown removes no other
    assert len(one._ends) == cooldowns._MAX_ENTRIES
    assert one.end_of((9_999).to_bytes(32, "big"), "m", 2) == 300


class AgainstEverything(RuleBasedStateMachine):
    """A model that keeps all cooldowns and searches all of them each time."""

    def __init__(self):
        super().__init__()
        self.rests, self.now, self.ends = Cooldowns(), 0.0, {}

    credentials, models = st.integers(0, 2), st.sampled_from(["a", "b"])

    @rule(seconds=st.sampled_from([0.5, 20.0, 61.0, 200.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(credential=credentials, model=models, named=st.sampled_from([None, 0.5, 20.0, 1000.0]))
    def limited(self, credential, model, named):
        self.rests.rate_limited(credential, model, named, self.now)
        self.ends[credential, model] = self.now + (60 if named is None else min(named, 300))

    @rule(credential=credentials, model=st.sampled_from(["", "a", "b"]))
    def refused(self, credential, model):
        self.rests.credential_refused(credential, model, self.now)
        self.ends[credential, model] = self.now + 300

    @invariant()
    def agree(self):
        for credential in range(3):
            for model in ("a", "b"):
                ends = max(self.ends.get((credential, name), 0) for name in ("", model))
                assert self.rests.end_of(credential, model, self.now) == (ends if ends > self.now else 0)
        alive = sum(end > self.now for end in self.ends.values())
        assert self.rests.active(self.now) == alive
        assert self.rests.maybe_active or not alive


AgainstEverything.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAgainstEverything = AgainstEverything.TestCase
