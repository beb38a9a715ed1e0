"""Requests that come while one is being answered are read in the order in which they came, whenever it ends."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server.connection import ServerConnection
from nulpoint.http.server.server import HttpServer
from support.event_loop import run
from support.server_connection import Transport, message

FIRST, SECOND = message(b"1"), message(b"the second")


class Reading(Transport):
    def resume_reading(self):
        pass


class Waiting:
    """Answers when it is told to."""

    def __init__(self):
        self.told = WakeEvent()
        self.bodies = []
        self.refusals = []

    async def handle(self, request, reply):
        self.bodies.append(request.body)
        await self.told
        reply.send(200, b"", b"ok")

    def request_rejected(self, failure, headers):
        self.refusals.append(failure.status)
        return b""


async def connected(limits):
    loop = asyncio.get_running_loop()
    service, ticker = Waiting(), DeadlineSweeper(loop)
    connection = ServerConnection(HttpServer(service, limits, ticker), loop)
    connection.connection_made(Reading())
    return connection, service, ticker


def test_what_comes_as_one_ends_is_read_behind_what_had_come_before():
    """Both in one turn of the loop: the end of an answer, and the rest of a request whose beginning is kept."""

    async def main():
        connection, service, ticker = await connected(ServerLimits())
        connection.data_received(FIRST)
        connection.data_received(SECOND[:30])
        service.told.wake()
        connection.data_received(SECOND[30:])
        for _ in range(5):
            await asyncio.sleep(0)
        assert service.bodies == [b"1", b"the second"]
        assert not service.refusals
        ticker.stop()

    run(main())


def test_no_time_runs_for_a_request_that_is_not_read_on():
    """Its beginning came together with the request before it; the rest waits here, and not for the caller."""

    async def main():
        connection, service, ticker = await connected(ServerLimits(head_timeout=0.0, body_timeout=0.0))
        for cut in (len(SECOND) - 3, 30):
            connection.data_received(FIRST + SECOND[:cut])
            connection.data_received(SECOND[cut:])
            connection.on_deadline(asyncio.get_running_loop().time() + 1)
            for _ in range(2):
                service.told.wake()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        assert service.bodies == [b"1", b"the second"] * 2
        assert not service.refusals
        ticker.stop()

    run(main())


def test_a_head_that_begins_behind_a_long_body_is_counted_without_it():
    async def main():
        connection, service, ticker = await connected(ServerLimits(max_head=600))
        connection.data_received(message(b"x" * 2000) + SECOND[:30])
        connection.data_received(SECOND[30:])
        for _ in range(2):
            service.told.wake()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert [len(body) for body in service.bodies] == [2000, 10]
        assert not service.refusals
        ticker.stop()

    run(main())


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.sampled_from([b"", b"1", b"\r\n", b"x" * 700, message(b"inner")]), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    steps=st.lists(st.sampled_from(["wake", "turn", "late"]), max_size=20),
)
def test_however_the_bytes_come_and_the_answers_end_the_same_is_read(bodies, cuts, steps):
    async def main():
        connection, service, ticker = await connected(ServerLimits(max_head=600, head_timeout=0.0, body_timeout=0.0))
        data = b"".join(map(message, bodies))
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        todo = iter(steps)
        for start, end in itertools.pairwise(places):
            connection.data_received(data[start:end])
            for step in itertools.islice(todo, 2):
                if step == "wake":
                    service.told.wake()
                elif step == "turn":
                    await asyncio.sleep(0)
                elif connection._runner is not None:
                    connection.on_deadline(asyncio.get_running_loop().time() + 1)
        for _ in range(3 * len(bodies)):
            await asyncio.sleep(0)
            service.told.wake()
        assert service.bodies == bodies
        assert not service.refusals
        ticker.stop()

    run(main())
