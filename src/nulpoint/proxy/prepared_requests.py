"""A request made ready for the targets that may answer it, each only when its turn comes."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.request.request import Asked
from nulpoint.proxy.endpoint import Destination
from nulpoint.proxy.upstream_request import Prepared, prepare
from nulpoint.proxy.translation_thread import TranslationThread, takes_long
from nulpoint.providers.equivalents import CONTEXTS, refuses, renamed_members
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Target
from nulpoint.formats import json_edit
from nulpoint.formats.malformed import MISSHAPEN
from nulpoint.formats.json_nodes import check_node_count

logger = logging.getLogger(__name__)

_BYTES_A_TOKEN = 4  # of English text; other languages have fewer, so this never passes over a model that could do it


class Call(msgspec.Struct, frozen=True):
    """A request made ready for one target."""

    destination: Destination
    prepared: Prepared


def prepare_call(asked: Asked, route: Route, destination: Destination, target: Target) -> Call:
    """Raises Failure (400) for what this provider cannot be asked, (401) where there is no key for it."""
    if destination.lacks_key and not asked.own_key:
        raise destination.no_key()
    if len(asked.body) > asked.max_json_nodes and destination.translates:  # a shorter one cannot hold more
        check_node_count(asked.body, asked.max_json_nodes)
    spec, through_chat = target.provider.spec, destination.through_chat
    try:
        prepared = prepare(asked.body, asked.envelope, spec, target.model, route, through_chat, asked.translation)
    except MISSHAPEN as error:  # codecs name what is wrong; in a place that one of them forgot, it is told less exactly
        if not destination.translates:
            raise
        logger.error("a request could not be translated for %s by a bug in nulpoint", destination.name, exc_info=error)
        raise _unreadable(destination.name) from None
    if prepared.dropped and asked.strict:
        raise _not_expressible(prepared.dropped, destination.name)
    return Call(destination, prepared)


class Calls(msgspec.Struct):
    """Those of one request, each made ready only when its turn comes.

    `ready` by the target's name: the call, or why there is none. `thread` is for requests that take long to translate.
    """

    asked: Asked
    route: Route
    destination: Callable[[Provider], Destination]
    thread: TranslationThread
    ready: dict[str, Call | Failure]

    def to(self, target: Target) -> Call:
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
        if not takes_long(self.asked.body):
            return
        for target in targets:
            destination = self.destination(target.provider)
            if destination.translates and target.name not in self.ready and self._may_fit(target):
                self.ready[target.name] = await self.thread.run(partial(self._make, target))

    def _make(self, target: Target) -> Call | Failure:
        """It changes nothing, since it may run in a thread."""
        try:
            return prepare_call(self._spelled_for(target), self.route, self.destination(target.provider), target)
        except Failure as failure:
            return failure

    def _spelled_for(self, target: Target) -> Asked:
        """The request with the member names that a model takes which the caller did not ask for."""
        names = renamed_members(target.name) if self.route == "chat" else None
        if not names:
            return self.asked
        body, _ = json_edit.rewrite(self.asked.body, names, frozenset())
        return msgspec.structs.replace(self.asked, body=body)

    def fits(self, target: Target) -> bool:
        """Whether a target that the caller did not ask for can express the whole request, as far as is known."""
        if not self._may_fit(target):
            return False
        try:
            self.to(target)
        except Failure:
            return False
        return True

    def _may_fit(self, target: Target) -> bool:
        """What is known without translating the request."""
        body = self.asked.body
        if self.route == "chat" and renamed_members(target.name):
            frame = self.asked.envelope.frame
            if refuses(target.name, {member.key: frame[member.start : member.end] for member in json_edit.members(frame)}):
                return False
        context = CONTEXTS.get(target.name)
        return context is None or len(body) <= context * _BYTES_A_TOKEN or b";base64," in body


def _unreadable(provider: str) -> Failure:
    text = f"the request cannot be translated for {provider}: something in it is not of the type it should be"
    return rejected(text, code="invalid_type")


def _not_expressible(fields: list[str], provider: str) -> Failure:
    """What `STRICT_PARAMS` makes of fields that would be dropped."""
    text = f"{provider} cannot take {', '.join(fields)}; leave it out, or turn off STRICT_PARAMS (x-nulpoint-strict)"
    return rejected(text, param=fields[0], code="unsupported_parameter")
