"""Models that retire: which targets are left out, which names are listed, and what operators are told."""

from datetime import date

import pytest

from nulpoint.models.catalog import Models
from nulpoint.models.rows import ModelRow
from nulpoint.providers.catalog import CATALOG
from nulpoint.routing.chains import FallbackChains, WeightedTarget
from nulpoint.routing.retirements import BUILT_IN, warnings
from nulpoint.routing.router import Router
from support.routing_targets import PROVIDERS

BEFORE, LAST_DAY, DAY, AFTER = date(2030, 5, 1), date(2030, 5, 31), date(2030, 6, 1), date(2031, 1, 1)


def row(host, model, **facts):
    return ModelRow.read({"hosts": [host], "models": [model], "source": "test", **facts})


OLD = row("anthropic", "old-model", retires="2030-06-01", replacement="new-model", fallback_for=["large"])


def router(today, chains=(), aliases=(), rows=(OLD,), *, automatic=True, names=("openai", "anthropic", "gemini")):
    models = Models(tuple(rows))
    written = {name: tuple((WeightedTarget(target),) for target in chain) for name, chain in dict(chains).items()}
    providers = {name: PROVIDERS[name] for name in names}
    fallbacks = FallbackChains(written, automatic=automatic, models=models, today=today)
    return Router(providers, dict(aliases), "openai", CATALOG, fallbacks, models, today, default_is_set=True)


def planned(router, model):
    return [target.name for target in router.plan(model, "chat").all]


@pytest.mark.parametrize(("today", "lives"), [(BEFORE, True), (LAST_DAY, True), (DAY, False), (AFTER, False)])
def test_a_configured_target_is_used_until_it_retires(today, lives):
    chain = {"my-model": ["anthropic/old-model", "gemini/gemini-3.8-flash"]}
    routed = router(today, chain)
    expected = ["openai/my-model", *(["anthropic/old-model"] if lives else []), "gemini/gemini-3.8-flash"]
    assert planned(routed, "my-model") == expected
    reasons = routed.trace("my-model", "chat").unusable_targets
    retired = {"anthropic/old-model": "it retired on 2030-06-01; its host recommends new-model"}
    assert reasons == ({} if lives else retired)


@pytest.mark.parametrize(("today", "target"), [(LAST_DAY, "anthropic/old-model"), (DAY, "anthropic/claude-sonnet-5")])
def test_a_built_in_target_is_replaced_on_its_day_and_named(today, target):
    routed = router(today)
    assert planned(routed, "gpt-5.4")[1] == target
    reasons = routed.trace("gpt-5.4", "chat").unusable_targets
    assert ("anthropic/old-model" in reasons) is (today == DAY)


def test_what_a_client_asks_for_goes_to_its_provider_in_any_case():
    assert planned(router(DAY), "anthropic/old-model") == ["anthropic/old-model"]
    named_first = router(DAY, {"anthropic/old-model": ["anthropic/old-model", "openai/gpt-5.4"]})
    assert planned(named_first, "anthropic/old-model") == ["anthropic/old-model", "openai/gpt-5.4"]
    assert planned(router(DAY, aliases={"mine": "anthropic/old-model"}), "mine")[0] == "anthropic/old-model"


def test_a_plan_is_made_again_when_the_day_changes():
    routed = router(LAST_DAY, {"my-model": ["anthropic/old-model"]})
    assert planned(routed, "my-model") == ["openai/my-model", "anthropic/old-model"]
    plan = routed.plan("my-model", "chat")
    routed.set_today(LAST_DAY)
    assert routed.plan("my-model", "chat") is plan
    routed.set_today(DAY)
    assert planned(routed, "my-model") == ["openai/my-model"]


def test_operators_are_warned_of_every_target_that_was_chosen():
    routed = router(
        BEFORE,
        {"my-model": ["vllm/local", "anthropic/old-model"]},
        {"mine": "anthropic/old-model", "other": "openai/gpt-5.4"},
        [OLD, row("vllm", "local", retires="2030-06-20")],
    )
    chosen = [(target.name, target.chosen_by) for target in routed.chosen_targets()]
    assert chosen == [
        ("anthropic/old-model", "aliases.mine"),
        ("vllm/local", "fallbacks.my-model[0]"),
        ("anthropic/old-model", "fallbacks.my-model[1]"),
        ("anthropic/old-model", BUILT_IN),
    ]
    assert warnings(routed.chosen_targets(), BEFORE) == []
    text = "retires on 2030-06-01, in 30 days; its host recommends new-model"
    assert warnings(routed.chosen_targets(), date(2030, 5, 2))[0] == f"anthropic/old-model (aliases.mine) {text}"
    assert "retires on 2030-06-01, in 1 day;" in warnings(routed.chosen_targets(), LAST_DAY)[0]
    assert "vllm/local (fallbacks.my-model[0]) retired on 2030-06-20" in warnings(routed.chosen_targets(), AFTER)


def test_built_in_targets_count_only_while_they_are_used():
    assert router(BEFORE, automatic=False).chosen_targets() == []
    assert router(BEFORE, names=("openai",)).chosen_targets() == []


# -- the list of models ------------------------------------------------------------------------------------------------


def test_names_of_chains_and_aliases_are_listed():
    chains = {"my-model": ["openai/gpt-5.4"], "claude-*": ["openai/gpt-5.4"], "grok-9": ["openai/gpt-5.4"]}
    listed = dict(router(BEFORE, chains, {"mine": "gemini/x", "theirs": "groq/x"}).models())
    assert (listed["my-model"], listed["mine"]) == ("openai", "gemini")
    assert not {"claude-*", "theirs", "grok-9"} & listed.keys()  # a pattern, and names of providers that are not in use


@pytest.mark.parametrize(("today", "lives"), [(LAST_DAY, True), (DAY, False)])
def test_models_are_listed_until_they_retire(today, lives):
    assert ("anthropic/old-model" in dict(router(today).models())) is lives


def test_built_in_aliases_of_retired_models_are_not_listed_but_configured_ones_are():
    today = date(2026, 12, 1)
    assert "claude-3-opus" not in dict(router(today).models())
    assert dict(router(today, aliases={"claude-3-opus": "anthropic/claude-3-opus-latest"}).models())["claude-3-opus"]


def test_only_models_that_an_operation_can_reach_are_listed():
    rows = [
        row("openai", "painter", kind="image"),
        row("openai", "thinker", chat=False),
        row("openai", "vectors", kind="embeddings"),
        row("anthropic", "vectors", kind="embeddings"),
    ]
    listed = dict(router(BEFORE, rows=rows).models())
    assert "openai/vectors" in listed
    assert not {"openai/painter", "openai/thinker", "anthropic/vectors"} & listed.keys()


def test_deployments_are_listed_only_if_the_user_names_them():
    rows = [row("azure", "prod-chat", context=1000)]
    azure = {name for name, provider in router(BEFORE, rows=rows, names=("azure",)).models() if provider == "azure"}
    assert azure == {"azure/prod-chat"}
