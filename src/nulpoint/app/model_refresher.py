"""Asks the providers for their lists of models, beside the requests (MODEL_REFRESH).

The lists say which models the configured keys can reach, and of some providers also when a model retires. Each worker
asks for itself: this is one small request for each provider and interval. It goes through the upstream client like
other requests, but not through the circuit breakers and the metrics, so that a list that fails changes nothing for
clients.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats.malformed import unusable_response
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.coroutine_runner import CoroutineRunner
from nulpoint.models.catalog import Models
from nulpoint.models.listing import ListedModel, read_listing
from nulpoint.providers.auth import Identities
from nulpoint.providers.operations import Operation
from nulpoint.providers.spec import Provider
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.proxy.response_body import decompressor_for
from nulpoint.routing.retirements import warnings
from nulpoint.routing.router import Router

logger = logging.getLogger(__name__)

MAX_LIST_BYTES = 8 * 1024 * 1024  # the longest known list, of some hundred models with descriptions, has 1 MB
TIMEOUT_SECONDS = 30.0  # for one list
_JITTER = 0.1  # an interval is up to this fraction shorter or longer, so that replicas do not ask together
_LIST = "models"


class ModelRefresher:
    """Reads the lists of the providers into `models`, once when it starts and then about every `interval` seconds.

    `random` returns numbers from 0 to 1. Needs a running event loop.
    """

    def __init__(
        self,
        interval: float,
        providers: Iterable[Provider],
        identities: Identities,
        client: UpstreamClient,
        models: Models,
        router: Router,
        random: Callable[[], float],
    ) -> None:
        self._interval = interval
        self._endpoints = list(_endpoints(providers, identities, client))
        self._client = client
        self._models = models
        self._router = router
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._problems: dict[str, str] = {}  # the last problem of each provider whose list could not be read
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._interval and self._endpoints:
            self._task = self._loop.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval * (1 + _JITTER * (2 * self._random() - 1)))

    async def refresh(self) -> None:
        """Ask all providers at the same time, and return when all of them have answered or failed."""
        await asyncio.gather(*(self._refresh(endpoint) for endpoint in self._endpoints))

    async def _refresh(self, endpoint: ProviderEndpoint) -> None:
        """Ask one provider. The exchange runs as those of requests do, because connections wake no tasks."""
        ended: asyncio.Future[Exception | None] = self._loop.create_future()
        runner = CoroutineRunner(self._ask(endpoint), partial(_resolve, ended))
        runner.resume()
        try:
            crash = await ended
        except asyncio.CancelledError:
            runner.cancel()
            raise
        if crash is not None:
            self._report(endpoint.name, _reason(crash))

    async def _ask(self, endpoint: ProviderEndpoint) -> None:
        signer = endpoint.signer(None)
        head = endpoint.request_head(b"", b"", None, 0, "", stream=False, signer=signer)
        deadline = self._loop.time() + TIMEOUT_SECONDS
        connection = await self._client.send(endpoint.pool, head, TIMEOUT_SECONDS, deadline)
        try:
            if connection.status != 200:
                raise ValueError(f"the status is {connection.status}")
            body = await _read(connection)
        finally:
            connection.release()
        self._learn(endpoint, read_listing(body))

    def _learn(self, endpoint: ProviderEndpoint, listed: tuple[ListedModel, ...]) -> None:
        name = endpoint.name
        if self._problems.pop(name, None) is not None:
            logger.info("the list of models of %s can be read again", name)
        previous = self._models.listings.get(name)
        if previous is not None and tuple(previous.models.values()) == listed:
            return
        before = warnings(self._router.chosen_targets(), self._router.today)
        source = f"{endpoint.provider.base_url}{endpoint.operation.path}"
        self._models.learn(name, listed, source, self._router.today.isoformat())
        self._router.forget_decisions()
        for warning in warnings(self._router.chosen_targets(), self._router.today):
            if warning not in before:
                logger.warning("%s", warning)

    def _report(self, name: str, problem: str) -> None:
        if self._problems.get(name) != problem:  # log a problem once, not with every attempt
            logger.warning(
                "cannot read the list of models of %s: %s; what is known of them stays in use", name, problem
            )
        self._problems[name] = problem


def _endpoints(
    providers: Iterable[Provider], identities: Identities, client: UpstreamClient
) -> Iterable[ProviderEndpoint]:
    """Yield the endpoints of the providers that have a list and for which the gateway has a credential."""
    for provider in providers:
        path = provider.spec.list_path
        if path:
            operation = Operation(name=_LIST, noun="list of models", path=path, method="GET")
            listing = msgspec.structs.replace(provider, paths={_LIST: path})
            endpoint = ProviderEndpoint(listing, operation, client, identities.get(provider.spec.name))
            if not endpoint.requires_client_key:
                yield endpoint


def _resolve(ended: "asyncio.Future[Exception | None]", crash: Exception | None) -> None:
    if not ended.done():
        ended.set_result(crash)


async def _read(connection: UpstreamConnection) -> bytes:
    """Read the body of a list. Raises Failure."""
    body = bytearray()
    decompressor = decompressor_for(connection.headers)
    while data := await connection.read():
        body += data
        if len(body) > MAX_LIST_BYTES:
            raise unusable_response(f"it is over {MAX_LIST_BYTES} bytes")
    if decompressor is None:
        return bytes(body)
    plain = decompressor.feed(bytes(body), MAX_LIST_BYTES)
    if not decompressor.complete:
        raise unusable_response("its compressed body is incomplete")
    return plain


def _reason(crash: Exception) -> str:
    """Describe a failure without any text of the provider, which may repeat a credential."""
    if isinstance(crash, Failure):
        return crash.message
    if isinstance(crash, ValueError):
        return str(crash)
    logger.error("the list of models could not be read because of a bug in nulpoint", exc_info=crash)
    return "of a bug in nulpoint"
