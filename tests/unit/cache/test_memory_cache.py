"""Tests the cache in memory: it is limited in size, reports its size correctly, and evicts the least recently used."""

import gc
import hashlib
import tracemalloc
from itertools import count
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.memory import OVERHEAD, MemoryStore
from nulpoint.conversation.usage import Usage

ROOM = 3  # entries of 100 bytes
KEYS = [bytes([number]) for number in range(6)]


@given(
    st.lists(st.tuples(st.sampled_from(["get", "put"]), st.sampled_from(KEYS), st.integers(0, 4), st.integers(1, 8)))
)
def test_behaves_like_a_simple_model(steps):
    memory = MemoryStore(ROOM * (100 + OVERHEAD))
    model = {}  # (value, expires) by key; the least recently used first
    now = 0
    for value, (step, key, wait, ttl) in enumerate(steps):
        now += wait
        held = model.pop(key, None)
        if step == "put":
            memory.put(key, value, 100, ttl, now)
            model[key] = (value, now + ttl)
            while len(model) > ROOM:
                del model[next(iter(model))]
        elif held is not None and held[1] > now:
            model[key] = held
            assert memory.get(key, now) == held[0]
        else:
            assert memory.get(key, now) is None
        assert len(memory) == len(model)
        assert memory.bytes == len(model) * (100 + OVERHEAD)


def test_a_value_larger_than_the_cache_evicts_nothing():
    memory = MemoryStore(1000 + OVERHEAD)
    memory.put(b"a", 1, 10, 60, 0)
    memory.put(b"b", 2, 1001, 60, 0)
    assert (memory.get(b"a", 1), memory.get(b"b", 1), memory.counts.evicted) == (1, None, 0)
    memory.put(b"a", 3, 1001, 60, 1)  # and the value to be replaced is removed
    assert (memory.get(b"a", 1), memory.bytes) == (None, 0)


def test_an_entry_expires_exactly_at_its_time():
    memory = MemoryStore(10_000)
    memory.put(b"a", 1, 10, 5.0, 100.0)
    assert memory.get(b"a", 104.999) == 1
    assert memory.get(b"a", 105.0) is None
    assert memory.bytes == 0


def answer(number, size):
    usage = Usage(prompt=number + 1000, completion=number + 1000)
    return CacheEntry(b"%d" % number + bytes(size), b"", False, "openai", f"gpt-4o-{number}", usage, 0.5 + number)


def vector(number, size):
    return CachedVector(b"%d" % number + bytes(size), number + 1000, "openai", f"embedding-{number}", 0.5 + number)


@pytest.mark.parametrize("make", [answer, vector])
@pytest.mark.parametrize("size", [10, 400, 3000])
def test_sizes_match_the_memory_used(make, size):
    memory = MemoryStore(1 << 40)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(4000):
            value = make(number, size)
            memory.put(hashlib.sha256(b"%d" % number).digest(), value, value.size, 60.0, float(number))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken <= memory.bytes * 1.05
    assert memory.bytes <= taken * 1.6


def test_a_million_prompts_take_the_same_room_and_time_each():
    cap = 4 << 20
    memory = MemoryStore(cap)
    numbers = count()

    def some():
        began = perf_counter()
        for number in (next(numbers) for _ in range(50_000)):
            memory.put(number.to_bytes(32), number, 100, 3600.0, 0.0)
            assert memory.bytes <= cap
        return perf_counter() - began

    times = [some() for _ in range(20)]
    assert memory.counts.evicted == 1_000_000 - len(memory)
    assert min(times[10:]) < 5 * min(times[1:5])
