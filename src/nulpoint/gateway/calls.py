"""A request made ready for the targets that may answer it, each only when its turn comes."""

from collections.abc import Callable

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.gateway.asked import Asked
from nulpoint.gateway.destination import Destination
from nulpoint.gateway.preparation import Prepared, prepare
from nulpoint.providers.equivalents import CONTEXTS, refuses, renamed_members
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Target
from nulpoint.wire import splice

_BYTES_A_TOKEN = 4  # of English text; other languages have fewer, so this never passes over a model that could do it


class Call(msgspec.Struct, frozen=True):
    """A request made ready for one target."""

    destination: Destination
    prepared: Prepared


def prepare_call(asked: Asked, route: Route, destination: Destination, target: Target) -> Call:
    """Raises Failure (400) for what this provider cannot be asked, (401) where there is no key for it."""
    if destination.lacks_key and not asked.own_key:
        raise destination.no_key()
    prepared = prepare(asked.body, asked.envelope, target.provider.spec, target.model, route, destination.through_chat)
    if prepared.dropped and asked.strict:
        raise _not_expressible(prepared.dropped, destination.name)
    return Call(destination, prepared)


class Calls(msgspec.Struct):
    """Those of one request, each made ready only when its turn comes; `ready` by the target's name."""

    asked: Asked
    route: Route
    destination: Callable[[Provider], Destination]
    ready: dict[str, Call]

    def to(self, target: Target) -> Call:
        """Raises Failure as `prepare_call` does."""
        call = self.ready.get(target.name)
        if call is None:
            call = prepare_call(self._spelled_for(target), self.route, self.destination(target.provider), target)
            self.ready[target.name] = call
        return call

    def _spelled_for(self, target: Target) -> Asked:
        """The request with the member names that a model takes which the caller did not ask for."""
        names = renamed_members(target.name) if self.route == "chat" else None
        if not names:
            return self.asked
        body, _ = splice.rewrite(self.asked.body, names, frozenset())
        return msgspec.structs.replace(self.asked, body=body)

    def fits(self, target: Target) -> bool:
        """Whether a target that the caller did not ask for can express the whole request, as far as is known."""
        body = self.asked.body
        if self.route == "chat" and renamed_members(target.name):
            members = {member.key: body[member.start : member.end] for member in splice.members(body)}
            if refuses(target.name, members):
                return False
        context = CONTEXTS.get(target.name)
        if context is not None and len(body) > context * _BYTES_A_TOKEN and b";base64," not in body:
            return False
        try:
            self.to(target)
        except Failure:
            return False
        return True


def _not_expressible(fields: list[str], provider: str) -> Failure:
    """What `STRICT_PARAMS` makes of fields that would be dropped."""
    text = f"{provider} cannot take {', '.join(fields)}; leave it out, or turn off STRICT_PARAMS (x-nulpoint-strict)"
    return rejected(text, param=fields[0], code="unsupported_parameter")
