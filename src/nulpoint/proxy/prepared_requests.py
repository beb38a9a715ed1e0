"""Prepares a request for the targets that may serve it, for each one only when it is its turn."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.formats.json_nodes import check_node_count
from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.openai.envelope import without_model
from nulpoint.providers.spec import Provider
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.proxy.translation_thread import TranslationThread, takes_long
from nulpoint.proxy.upstream_request import UpstreamRequest, prepare
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import Target

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN = 4  # of English text; others have fewer, so that no model is skipped which could take the request


class UpstreamCall(msgspec.Struct, frozen=True):
    """A request that is prepared for one target."""

    endpoint: ProviderEndpoint
    prepared: UpstreamRequest


def prepare_call(
    proxy_request: ProxyRequest, endpoint: ProviderEndpoint, target: Target, *, is_fallback: bool = False
) -> UpstreamCall:
    """Prepare a request for one target.

    Raises Failure: 400 if the provider does not support the request, 401 if there is no key for the provider.
    """
    if endpoint.requires_client_key and not proxy_request.client_api_key:
        raise endpoint.missing_client_key()
    body, envelope = proxy_request.body, proxy_request.envelope
    max_nodes = proxy_request.translation.json_nodes
    if len(body) > max_nodes and endpoint.decodes_requests(target, body):  # a shorter body cannot have more
        check_node_count(body, max_nodes)
    if endpoint.model_in_path:
        body, envelope = without_model(body), msgspec.structs.replace(envelope, model=target.model)
    try:
        limits = proxy_request.translation
        prepared = prepare(body, envelope, endpoint, target, limits, is_fallback=is_fallback)
    except MALFORMED as error:  # protocols say exactly what is wrong, but one of them may have missed a case
        if not endpoint.decodes_requests(target, body):
            raise
        logger.error("a request could not be translated for %s by a bug in nulpoint", endpoint.name, exc_info=error)
        raise _unreadable(endpoint.name) from None
    if prepared.dropped and proxy_request.strict:
        raise _unsupported_members(prepared.dropped, endpoint.name)
    return UpstreamCall(endpoint, prepared)


class PreparedCalls(msgspec.Struct):
    """The calls of one request to its fallback targets. Each is prepared when it is needed.

    `ready` has the calls by the name of the target, or the reason why a call is impossible. `thread` is for requests
    that take long to translate.
    """

    proxy_request: ProxyRequest
    endpoint: Callable[[Provider], ProviderEndpoint]
    thread: TranslationThread
    ready: dict[str, UpstreamCall | Failure]

    def prepare_for(self, target: Target) -> UpstreamCall:
        """Return the call for a target. Raises Failure as `prepare_call` does."""
        call = self.ready.get(target.name)
        if call is None:
            call = self.ready[target.name] = self._prepare(target)
        if isinstance(call, Failure):
            raise call
        return call

    async def make_ready(self, targets: Sequence[Target]) -> None:
        """Translate a long request for all targets in the thread, so that `prepare_for` does not take long."""
        body = self.proxy_request.body
        if not takes_long(body):
            return
        for target in targets:
            endpoint = self.endpoint(target.provider)
            if endpoint.decodes_requests(target, body) and target.name not in self.ready and self._may_fit(target):
                self.ready[target.name] = await self.thread.run(partial(self._prepare, target))

    def _prepare(self, target: Target) -> UpstreamCall | Failure:
        """Return the call, or why it is impossible. This changes nothing, because it may run in a thread."""
        try:
            return prepare_call(self.proxy_request, self.endpoint(target.provider), target, is_fallback=True)
        except Failure as failure:
            return failure

    def can_express(self, target: Target) -> bool:
        """Return whether a fallback target supports everything in the request, as far as is known."""
        if not self._may_fit(target) or (self.endpoint(target.provider).sends_chat and not target.facts.chat):
            return False
        try:
            self.prepare_for(target)
        except Failure:
            return False
        return True

    def _may_fit(self, target: Target) -> bool:
        """Return False if it is clear without translating the request that the target does not support it."""
        body = self.proxy_request.body
        context = target.facts.context
        return context is None or len(body) <= context * _BYTES_PER_TOKEN or b";base64," in body


def _unreadable(provider: str) -> Failure:
    text = f"the request cannot be translated for {provider}: something in it is not of the type it should be"
    return rejected(text, code="invalid_type")


def _unsupported_members(names: list[str], provider: str) -> Failure:
    """Return the failure for members that would be dropped if STRICT_PARAMS did not forbid it."""
    text = f"{provider} cannot take {', '.join(names)}; leave it out, or turn off STRICT_PARAMS (x-nulpoint-strict)"
    return rejected(text, param=names[0], code="unsupported_parameter")
