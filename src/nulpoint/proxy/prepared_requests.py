"""A request made ready for the targets that may answer it, each only when its turn comes."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats import json_edit
from nulpoint.formats.json_nodes import check_node_count
from nulpoint.formats.malformed import MALFORMED
from nulpoint.providers.equivalents import CONTEXTS, refuses, renamed_members
from nulpoint.providers.spec import Provider, Route
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.proxy.translation_thread import TranslationThread, takes_long
from nulpoint.proxy.upstream_request import UpstreamRequest, prepare
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import Target

logger = logging.getLogger(__name__)

_BYTES_A_TOKEN = 4  # of English text; other languages have fewer, so this never passes over a model that could do it


class UpstreamCall(msgspec.Struct, frozen=True):
    """A request made ready for one target."""

    endpoint: ProviderEndpoint
    prepared: UpstreamRequest


def prepare_call(proxy_request: ProxyRequest, route: Route, endpoint: ProviderEndpoint, target: Target) -> UpstreamCall:
    """Raises Failure (400) for what this provider cannot be asked, (401) where there is no key for it."""
    if endpoint.requires_client_key and not proxy_request.client_api_key:
        raise endpoint.missing_client_key()
    if len(proxy_request.body) > proxy_request.max_json_nodes and endpoint.translates:  # a shorter one cannot hold more
        check_node_count(proxy_request.body, proxy_request.max_json_nodes)
    spec, through_chat = target.provider.spec, endpoint.through_chat
    try:
        prepared = prepare(
            proxy_request.body,
            proxy_request.envelope,
            spec,
            target.model,
            route,
            through_chat,
            proxy_request.translation,
        )
    except MALFORMED as error:  # codecs name what is wrong; in a place that one of them forgot, it is told less exactly
        if not endpoint.translates:
            raise
        logger.error("a request could not be translated for %s by a bug in nulpoint", endpoint.name, exc_info=error)
        raise _unreadable(endpoint.name) from None
    if prepared.dropped and proxy_request.strict:
        raise _unsupported_members(prepared.dropped, endpoint.name)
    return UpstreamCall(endpoint, prepared)


class PreparedCalls(msgspec.Struct):
    """Those of one request, each made ready only when its turn comes.

    `ready` by the target's name: the call, or why there is none. `thread` is for requests that take long to translate.
    """

    proxy_request: ProxyRequest
    route: Route
    endpoint: Callable[[Provider], ProviderEndpoint]
    thread: TranslationThread
    ready: dict[str, UpstreamCall | Failure]

    def prepare_for(self, target: Target) -> UpstreamCall:
        """Raises Failure as `prepare_call` does."""
        made = self.ready.get(target.name)
        if made is None:
            made = self._make(target)
            self.ready[target.name] = made
        if isinstance(made, Failure):
            raise made
        return made

    async def make_ready(self, targets: Sequence[Target]) -> None:
        """Translate a long request in the thread for all the targets that `to` may be asked for from now on."""
        if not takes_long(self.proxy_request.body):
            return
        for target in targets:
            endpoint = self.endpoint(target.provider)
            if endpoint.translates and target.name not in self.ready and self._may_fit(target):
                self.ready[target.name] = await self.thread.run(partial(self._make, target))

    def _make(self, target: Target) -> UpstreamCall | Failure:
        """It changes nothing, since it may run in a thread."""
        try:
            return prepare_call(self._spelled_for(target), self.route, self.endpoint(target.provider), target)
        except Failure as failure:
            return failure

    def _spelled_for(self, target: Target) -> ProxyRequest:
        """The request with the member names that a model takes which the caller did not ask for."""
        names = renamed_members(target.name) if self.route == "chat" else None
        if not names:
            return self.proxy_request
        body, _ = json_edit.rewrite(self.proxy_request.body, names, frozenset())
        return msgspec.structs.replace(self.proxy_request, body=body)

    def can_express(self, target: Target) -> bool:
        """Whether a target that the caller did not ask for can express the whole request, as far as is known."""
        if not self._may_fit(target):
            return False
        try:
            self.prepare_for(target)
        except Failure:
            return False
        return True

    def _may_fit(self, target: Target) -> bool:
        """What is known without translating the request."""
        body = self.proxy_request.body
        if self.route == "chat" and renamed_members(target.name):
            frame = self.proxy_request.envelope.frame
            if refuses(
                target.name, {member.key: frame[member.start : member.end] for member in json_edit.members(frame)}
            ):
                return False
        context = CONTEXTS.get(target.name)
        return context is None or len(body) <= context * _BYTES_A_TOKEN or b";base64," in body


def _unreadable(provider: str) -> Failure:
    text = f"the request cannot be translated for {provider}: something in it is not of the type it should be"
    return rejected(text, code="invalid_type")


def _unsupported_members(fields: list[str], provider: str) -> Failure:
    """What `STRICT_PARAMS` makes of fields that would be dropped."""
    text = f"{provider} cannot take {', '.join(fields)}; leave it out, or turn off STRICT_PARAMS (x-nulpoint-strict)"
    return rejected(text, param=fields[0], code="unsupported_parameter")
