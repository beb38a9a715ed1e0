"""A long conversation with a model that binds its reasoning, at a provider with four keys of which one is lost midway.

Three replicas, which list the keys in different orders, take the turns. The conversation stays with one account, whose
prompt cache it uses, and moves to another one when that account is lost. It never gets an error.
"""

import contextlib
import json

import pytest

from support.binding_provider import BindingProvider
from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

KEYS = ["key-a", "key-b", "key-c", "key-d"]
REPLICAS = 3
MODEL = "claude-sonnet-5-5"  # it binds its reasoning to the account and to what comes before it
MARK = {"cache_control": {"type": "ephemeral"}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


def text(words, **mark):
    return [{"type": "text", "text": words, **mark}]


class Conversation:
    """A client's conversation. As many clients do, it marks the system message and the newest message for the cache."""

    def __init__(self, topic, **members):
        self.members = {"model": MODEL, "tools": TOOLS, **members}
        self.history = [{"role": "system", "content": text(f"You answer questions about {topic}. " * 40, **MARK)}]
        self.turns = 0

    def next_request(self):
        self.turns += 1
        question = f"Question {self.turns} about it. " * 10
        asked = {**self.members, "messages": [*self.history, {"role": "user", "content": text(question, **MARK)}]}
        self.history.append({"role": "user", "content": text(question)})
        return json.dumps(asked).encode()

    def take(self, body):
        self.history.append(json.loads(body)["choices"][0]["message"])


async def turn(conversation, callers):
    """Take the next turn at the next replica."""
    caller = callers[conversation.turns % len(callers)]
    caller.send(post(conversation.next_request()))
    status, headers, body = await caller.answer()
    assert status == 200, body
    conversation.take(body)
    return int(headers["x-nulpoint-attempts"])


@contextlib.asynccontextmanager
async def replicas(provider):
    """Run the replicas, and yield a connection to each."""
    async with contextlib.AsyncExitStack() as stack:
        callers = []
        for number in range(REPLICAS):
            keys = ",".join(KEYS[number:] + KEYS[:number])
            environ = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_API_KEYS": keys, "ANTHROPIC_BASE_URL": f"{provider.url}/v1"}
            running = await stack.enter_async_context(gateway(environ, providers={}))
            callers.append(await Caller.connect(running.port))
        yield callers


def cached_share(served):
    """Return how much of what earlier turns had sent was read from the cache, and how much of all tokens."""
    earlier = sum(one.prompt for one in served[:-1])
    cached = sum(one.cached for one in served)
    return cached / earlier, cached / sum(one.prompt for one in served)


@pytest.mark.parametrize("members", [{}, {"reasoning_effort": "high"}], ids=["thinks unasked", "effort"])
def test_a_conversation_of_fifty_turns_survives_the_loss_of_its_account(members):
    async def main():
        provider = await BindingProvider().start()
        async with replicas(provider) as callers:
            conversation = Conversation("rivers", **members)
            attempts = []
            for number in range(50):
                if number == 25:
                    provider.dead = {provider.served[-1].account}
                attempts.append(await turn(conversation, callers))
        await provider.close()
        (lost,) = provider.dead
        served = provider.served
        assert [one.account == lost for one in served] == [True] * 25 + [False] * 25
        assert len({one.account for one in served[25:]}) == 1
        # Each replica is told once that the key is lost, and nobody is told anything else.
        assert {(account, status) for account, status, _ in provider.rejected} == {(lost, 401)}
        assert len(provider.rejected) == REPLICAS == attempts.count(2)
        assert set(attempts) == {1, 2}
        # The other account cannot read the reasoning of the lost one, and reads all of its own.
        assert [one.dropped for one in served] == [0] * 25 + [25] * 25
        of_earlier, of_all = cached_share(served)
        assert of_earlier >= 0.95
        assert of_all >= 0.9

    run(main())


def test_other_conversations_stay_where_they_are_and_all_accounts_are_used():
    async def main():
        provider = await BindingProvider().start()
        async with replicas(provider) as callers:
            conversations = [Conversation(f"town number {number}") for number in range(24)]
            rounds = []
            for number in range(4):
                if number == 2:
                    provider.dead = {KEYS[0]}
                for conversation in conversations:
                    await turn(conversation, callers)
                rounds.append([one.account for one in provider.served[-len(conversations) :]])
        await provider.close()
        before, same, after, still = rounds
        assert before == same
        assert set(before) == set(KEYS)
        assert after == still
        assert [old for old, new in zip(before, after, strict=True) if old != new] == [KEYS[0]] * before.count(KEYS[0])
        assert {status for _, status, _ in provider.rejected} == {401}

    run(main())


def test_the_provider_rejects_reasoning_of_another_account_that_is_not_to_be_dropped():
    """The proof above would be worth nothing if the provider took anything."""

    async def main():
        provider = await BindingProvider().start()
        reader, asked = provider._message, {"model": MODEL, "messages": [{"role": "user", "content": text("hi")}]}
        message = reader("key-a", asked, "")
        asked["messages"].append({"role": "assistant", "content": message["content"]})
        asked["messages"].append({"role": "user", "content": text("and then?")})
        assert reader("key-a", asked, "")["type"] == "message"
        for account, change in (("key-b", {}), ("key-a", {"system": text("changed")}), ("key-a", {"tools": TOOLS})):
            with pytest.raises(Exception, match="Invalid `signature` in `thinking` block"):
                reader(account, {**asked, **change}, "")
            dropping = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
            with pytest.raises(Exception, match="Extra inputs"):
                reader(account, {**asked, **change, "thinking": dropping}, "")
            beta = "thinking-binding-controls-2026-08-01"
            reader(account, {**asked, **change, "thinking": dropping}, beta)
            assert provider.served[-1].dropped == 1
        await provider.close()

    run(main())
