"""Tests that requests that arrive while another one is in progress are read in order, whenever it ends."""

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


class WaitingHandler:
    """Responds to each request when its `release` event wakes it."""

    def __init__(self):
        self.release = WakeEvent()
        self.bodies = []
        self.rejections = []

    async def handle(self, request, response):
        self.bodies.append(request.body)
        await self.release
        response.send(200, b"", b"ok")

    def request_rejected(self, failure, request):
        self.rejections.append(failure.status)
        return b"", b""


async def connected(limits):
    loop = asyncio.get_running_loop()
    handler, deadlines = WaitingHandler(), DeadlineSweeper(loop)
    connection = ServerConnection(HttpServer(handler, limits, deadlines), loop)
    connection.connection_made(Reading())
    return connection, handler, deadlines


def test_bytes_that_arrive_as_a_response_ends_are_read_after_earlier_ones():
    """In one turn of the loop a response ends, and the rest of a request arrives whose beginning is in the backlog."""

    async def main():
        connection, handler, deadlines = await connected(ServerLimits())
        connection.data_received(FIRST)
        connection.data_received(SECOND[:30])
        handler.release.wake()
        connection.data_received(SECOND[30:])
        for _ in range(5):
            await asyncio.sleep(0)
        assert handler.bodies == [b"1", b"the second"]
        assert not handler.rejections
        deadlines.stop()

    run(main())


def test_there_is_no_deadline_for_a_request_that_waits_in_the_backlog():
    """Its beginning arrived with the request before it. The gateway delays the rest, not the client."""

    async def main():
        connection, handler, deadlines = await connected(ServerLimits(head_timeout=0.0, body_timeout=0.0))
        for cut in (len(SECOND) - 3, 30):
            connection.data_received(FIRST + SECOND[:cut])
            connection.data_received(SECOND[cut:])
            connection.on_deadline(asyncio.get_running_loop().time() + 1)
            for _ in range(2):
                handler.release.wake()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        assert handler.bodies == [b"1", b"the second"] * 2
        assert not handler.rejections
        deadlines.stop()

    run(main())


def test_the_size_of_a_head_does_not_include_the_body_before_it():
    async def main():
        connection, handler, deadlines = await connected(ServerLimits(max_head_bytes=600))
        connection.data_received(message(b"x" * 2000) + SECOND[:30])
        connection.data_received(SECOND[30:])
        for _ in range(2):
            handler.release.wake()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert [len(body) for body in handler.bodies] == [2000, 10]
        assert not handler.rejections
        deadlines.stop()

    run(main())


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.sampled_from([b"", b"1", b"\r\n", b"x" * 700, message(b"inner")]), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    steps=st.lists(st.sampled_from(["wake", "turn", "late"]), max_size=20),
)
def test_the_same_is_read_however_bytes_arrive_and_responses_end(bodies, cuts, steps):
    async def main():
        connection, handler, deadlines = await connected(
            ServerLimits(max_head_bytes=600, head_timeout=0.0, body_timeout=0.0)
        )
        deadlines.stop()  # only the step "late" may find the deadline passed, however slow the machine is
        data = b"".join(map(message, bodies))
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        todo = iter(steps)
        for start, end in itertools.pairwise(places):
            connection.data_received(data[start:end])
            for step in itertools.islice(todo, 2):
                if step == "wake":
                    handler.release.wake()
                elif step == "turn":
                    await asyncio.sleep(0)
                elif connection._runner is not None:
                    connection.on_deadline(asyncio.get_running_loop().time() + 1)
        for _ in range(3 * len(bodies)):
            await asyncio.sleep(0)
            handler.release.wake()
        assert handler.bodies == bodies
        assert not handler.rejections

    run(main())
