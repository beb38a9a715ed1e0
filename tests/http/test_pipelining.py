"""Requests that come while one is being answered are read in the order in which they came, whenever it ends."""

import asyncio

from test_known_head import Transport, message

from conftest import run
from nulpoint.http.connection import Connection
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server import Server
from nulpoint.http.strand import Signal
from nulpoint.http.ticker import Ticker

FIRST, SECOND = message(b"1"), message(b"the second")


class Reading(Transport):
    def resume_reading(self):
        pass


class Waiting:
    """Answers when it is told to."""

    def __init__(self):
        self.told = Signal()
        self.bodies = []
        self.refusals = []

    async def answer(self, request, reply):
        self.bodies.append(request.body)
        await self.told
        reply.send(200, b"", b"ok")

    def refused(self, failure, headers):
        self.refusals.append(failure.status)
        return b""


async def connected(limits):
    loop = asyncio.get_running_loop()
    service, ticker = Waiting(), Ticker(loop)
    connection = Connection(Server(service, limits, ticker), loop)
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
            connection.expire(asyncio.get_running_loop().time() + 1)
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
