"""Tests the targets of a model and their order: chains, weights, built-in equivalents, embeddings, client keys."""

import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.providers.catalog import CATALOG
from nulpoint.routing.chains import FallbackChains, TargetPlan, WeightedRoundRobin, WeightedTarget
from nulpoint.routing.router import Router
from support.routing_targets import PROVIDERS, target

BIG = ("openai", "anthropic", "gemini", "mistral")


def chain(*steps):
    """Return a chain whose steps are names, or mappings of names to weights."""
    written = [{step: 1} if isinstance(step, str) else step for step in steps]
    return tuple(tuple(WeightedTarget(name, weight) for name, weight in step.items()) for step in written)


def router(own=(), names=BIG, *, automatic=True, aliases=(), default="openai"):
    providers = {name: PROVIDERS[name] for name in names}
    return Router(providers, dict(aliases), default, CATALOG, FallbackChains(dict(own), automatic=automatic))


def names(plan, **how):
    return [one.name for one in plan.targets(**how)]


def planned(model, own=(), route="chat", **how):
    return names(router(own, **how).plan(model, route))


# -- without configuration ---------------------------------------------------------------------------------------------

AUTOMATIC = {
    "gpt-4o": ["openai/gpt-4o", "anthropic/claude-sonnet-5", "gemini/gemini-3.8-flash", "mistral/mistral-large-latest"],
    "claude-haiku-5-5": [
        "anthropic/claude-haiku-5-5", "openai/gpt-5.4-mini", "gemini/gemini-3.5-flash-lite", "mistral/mistral-small-latest",
    ],
    "claude-3-opus": [
        "anthropic/claude-3-opus-latest", "openai/gpt-5.4", "gemini/gemini-3.8-flash", "mistral/mistral-large-latest",
    ],
    "o3": ["openai/o3", "anthropic/claude-opus-5", "gemini/gemini-3.8-flash", "mistral/mistral-medium-latest"],
    "gpt-4o-audio-preview": ["openai/gpt-4o-audio-preview"],
    "who-knows": ["openai/who-knows"],
    "openai/gpt-4o": ["openai/gpt-4o"],  # a name with a provider has no fallback
}  # fmt: skip


@pytest.mark.parametrize(("model", "targets"), AUTOMATIC.items(), ids=AUTOMATIC)
def test_the_built_in_chain(model, targets):
    assert planned(model) == targets


def test_unconfigured_providers_are_left_out():
    assert planned("gpt-4o", names=("openai", "gemini", "groq")) == ["openai/gpt-4o", "gemini/gemini-3.8-flash"]
    assert planned("gpt-4o", names=("openai",)) == ["openai/gpt-4o"]


def test_built_in_chains_can_be_switched_off():
    assert planned("gpt-4o", automatic=False) == ["openai/gpt-4o"]
    own = {"gpt-4o": chain("gemini/x")}
    assert planned("gpt-4o", own, automatic=False) == ["openai/gpt-4o", "gemini/x"]


def test_an_alias_has_the_chain_of_its_model():
    aliases = {"smart": "anthropic/claude-sonnet-4-5", "fast": "groq/llama-3.1-8b-instant"}
    assert planned("smart", names=("openai", "anthropic"), aliases=aliases) == [
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-5.4",
    ]
    assert planned("fast", names=("openai", "groq"), aliases=aliases) == ["groq/llama-3.1-8b-instant"]


@pytest.mark.parametrize("model", ["text-embedding-3-small", "mistral-embed", "gemini/gemini-embedding-001"])
def test_embeddings_have_no_equivalents(model):
    assert len(planned(model, route="embeddings")) == 1


# -- configured chains ------------------------------------------------------------------------------------------------


def test_a_configured_chain_replaces_the_built_in_one():
    assert planned("gpt-4o", {"gpt-4o": chain("mistral/x")}) == ["openai/gpt-4o", "mistral/x"]


def test_a_configured_chain_applies_to_pinned_names_and_aliases():
    own = {"openai/gpt-4o": chain("mistral/x"), "fast": chain("mistral/y")}
    assert planned("openai/gpt-4o", own) == ["openai/gpt-4o", "mistral/x"]
    assert planned("fast", own, aliases={"fast": "gemini/z"}) == ["gemini/z", "mistral/y"]


PATTERNS = {
    "gpt-4o": chain("mistral/exact"),
    "gpt-*": chain("mistral/gpt"),
    "gpt-4*": chain("mistral/gpt-4"),
    "*": chain("mistral/any"),
    "gpt-?": chain("mistral/one-letter"),
    "claude-[34]*": chain("mistral/claude"),
    "openai/*": chain("mistral/pinned"),
}


@pytest.mark.parametrize(
    ("model", "fallback"),
    [
        ("gpt-4o", "exact"), ("gpt-4o-mini", "gpt-4"), ("gpt-3.5-turbo", "gpt"), ("gpt-5", "gpt"), ("o3", "any"),
        ("claude-3-opus-20240229", "claude"), ("claude-5", "any"), ("openai/o3", "pinned"), ("GPT-4o", "any"),
    ],
)  # fmt: skip
def test_an_exact_name_before_patterns_and_the_longest_pattern_first(model, fallback):
    assert planned(model, PATTERNS)[1:] == [f"mistral/{fallback}"]


def test_the_first_of_two_equally_long_patterns_wins():
    own = {"gpt-*": chain("mistral/first"), "*-4o*": chain("mistral/second")}
    assert planned("gpt-4o", own)[1:] == ["mistral/first"]


@pytest.mark.parametrize(
    ("own", "targets"),
    [
        (chain("anthropic/a", "gemini/b"), ["openai/gpt-4o", "anthropic/a", "gemini/b"]),
        (chain("openai/gpt-4o", "gemini/b"), ["openai/gpt-4o", "gemini/b"]),
        (chain("anthropic/a", "openai/gpt-4o"), ["openai/gpt-4o", "anthropic/a"]),  # the primary is named in a later step: it is not tried twice
        (chain("openai/gpt-4o"), ["openai/gpt-4o"]),
        (chain({"anthropic/a": 1, "gemini/b": 1}, {"openai/gpt-4o": 1, "mistral/c": 1}),
         ["openai/gpt-4o", "anthropic/a", "gemini/b", "mistral/c"]),
        (chain({"openai/gpt-4o": 1, "anthropic/a": 1}), ["openai/gpt-4o", "anthropic/a"]),
        (chain({"anthropic/a": 2, "openai/gpt-4o": 1}), ["anthropic/a", "openai/gpt-4o"]),
        (chain("openai/gpt-4.1"), ["openai/gpt-4o", "openai/gpt-4.1"]),
        (chain("groq/not-configured", "gemini/b"), ["openai/gpt-4o", "gemini/b"]),
        (chain("groq/not-configured"), ["openai/gpt-4o"]),
        (chain({"groq/not-configured": 9, "gemini/b": 1}), ["openai/gpt-4o", "gemini/b"]),
        (chain("gemini/publishers/google/b"), ["openai/gpt-4o", "gemini/publishers/google/b"]),
    ],
)  # fmt: skip
def test_the_model_s_own_target_is_first_unless_the_first_step_names_it(own, targets):
    plan = router({"gpt-4o": own}).plan("gpt-4o", "chat")
    assert names(plan) == targets
    assert plan.primary.name == "openai/gpt-4o"


def test_embeddings_fall_back_only_to_the_same_model():
    own = {
        "text-embedding-3-small": chain(
            "mistral/mistral-embed", "together/text-embedding-3-small", "groq/text-embedding-3-small"
        )
    }
    configured = ("openai", "mistral", "together", "groq")
    assert planned("text-embedding-3-small", own, "embeddings", names=configured) == [
        "openai/text-embedding-3-small",
        "together/text-embedding-3-small",
    ]
    assert len(planned("text-embedding-3-small", own, "chat", names=configured)) == 4


def test_a_model_of_a_provider_without_embeddings():
    with pytest.raises(Failure, match="anthropic has no embeddings; use one of: text-embedding-3-small") as caught:
        router().plan("claude-3-opus", "embeddings")
    assert (caught.value.status, caught.value.code) == (400, "embeddings_not_supported")
    with pytest.raises(Failure, match="use one of: text-embedding-3-small"):
        router(names=("anthropic",)).plan("claude-3-opus", "embeddings")


def test_a_chain_does_not_replace_an_unconfigured_primary():
    with pytest.raises(Failure, match="OPENAI_API_KEY"):
        router({"gpt-4o": chain("mistral/x")}, names=("mistral",)).plan("gpt-4o", "chat")


def test_plans_are_cached_up_to_a_limit():
    one = router({"gpt-4o": chain({"openai/gpt-4o": 1, "gemini/b": 1})})
    assert [names(one.plan("gpt-4o", "chat"))[0] for _ in range(4)] == ["openai/gpt-4o", "gemini/b"] * 2
    for number in range(10_000):
        one.plan(f"made-up-{number}", "chat")
    assert len(one._plan_cache) <= 4096


# -- weights -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 3))
def test_every_round_gives_each_target_exactly_its_share(weights, rounds):
    turns = WeightedRoundRobin(weights)
    firsts = [turns.next_order() for _ in range(sum(weights) * rounds)]
    assert all(sorted(order) == list(range(len(weights))) for order in firsts)
    for number in range(rounds):
        part = firsts[number * sum(weights) : (number + 1) * sum(weights)]
        assert collections.Counter(order[0] for order in part) == dict(enumerate(weights))


def test_the_share_is_spread_evenly_over_time():
    turns = WeightedRoundRobin([5, 1, 1])
    assert [turns.next_order()[0] for _ in range(7)] == [
        0,
        0,
        1,
        0,
        2,
        0,
        0,
    ]  # the example in the documentation of nginx


@given(st.lists(st.integers(1, 20), min_size=2, max_size=4))
def test_no_target_is_ever_more_than_a_turn_from_its_share(weights):
    turns, counts, total = WeightedRoundRobin(weights), [0] * len(weights), sum(weights)
    for turn in range(1, total * 2 + 1):
        counts[turns.next_order()[0]] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - turn * weight / total) <= len(weights)


def test_a_step_with_weights_and_the_steps_after_it():
    plan = router({"gpt-4o": chain({"openai/gpt-4o": 3, "gemini/b": 1}, "mistral/c")}).plan("gpt-4o", "chat")
    assert plan.fixed is None
    orders = [names(plan) for _ in range(8)]
    assert collections.Counter(order[0] for order in orders) == {"openai/gpt-4o": 6, "gemini/b": 2}
    assert {order[2] for order in orders} == {"mistral/c"}


def test_a_plan_with_a_fixed_order_is_made_once():
    plan = router().plan("gpt-4o", "chat")
    assert plan.fixed is plan.targets() is plan.targets(has_client_key=True)


def test_with_a_client_key_its_provider_comes_first():
    own = chain({"gemini/b": 1, "openai/gpt-4o": 1, "openai/gpt-4.1": 2}, "mistral/c", "openai/o3")
    plan = router({"gpt-4o": own}).plan("gpt-4o", "chat")
    orders = [names(plan, has_client_key=True) for _ in range(8)]
    assert {name.partition("/")[0] for order in orders for name in order[:3]} == {"openai"}
    assert {tuple(order[3:]) for order in orders} == {("gemini/b", "mistral/c")}
    assert collections.Counter(order[0] for order in orders)["openai/gpt-4.1"] >= 4
    assert {order[0] for order in (names(plan) for _ in range(8))} > {"gemini/b"}


# -- identity ----------------------------------------------------------------------------------------------------------


def plan_of(*steps):
    return TargetPlan(
        target("openai/a"), [[(target(one.target), one.weight) for one in step] for step in chain(*steps)]
    )


def test_different_plans_have_different_identities():
    plans = [
        plan_of("openai/a"), plan_of("openai/a", "mistral/b"), plan_of("mistral/b", "openai/a"),
        plan_of({"openai/a": 1, "mistral/b": 1}), plan_of({"openai/a": 2, "mistral/b": 1}), plan_of("openai/b"),
    ]  # fmt: skip
    for one, other in itertools.combinations(plans, 2):
        assert one.identity != other.identity
    assert plan_of("openai/a", "mistral/b").identity == plans[1].identity


def test_names_of_targets():
    found = target("openrouter/meta/llama")
    assert (found.provider, found.model, found.name) == (
        PROVIDERS["openrouter"],
        "meta/llama",
        "openrouter/meta/llama",
    )


# -- listing models ----------------------------------------------------------------------------------------------------


def test_finding_and_listing_models():
    one = router(names=("openai", "groq"), aliases={"fast": "groq/llama", "gone": "mistral/x"})
    assert one.find_target("groq/x").name == "groq/x"
    assert one.find_target("gpt-4o").name == "openai/gpt-4o"
    assert one.find_target("fast").name == "groq/llama"
    assert [one.find_target(name) for name in ("who-knows", "claude-3-opus", "mistral/x", "maker/model")] == [None] * 4
    listed = dict(one.models())
    assert listed["fast"] == "groq"
    assert listed["gpt-5.4"] == "openai"
    assert "groq/openai/gpt-oss-20b" in listed  # no pattern matches it without the provider
    assert "gone" not in listed
    assert sorted(listed) == [name for name, _ in one.models()]
