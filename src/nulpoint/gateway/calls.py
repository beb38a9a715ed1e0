"""A request made ready for the targets that may answer it, each only when its turn comes."""

from collections.abc import Callable

import msgspec

from nulpoint.errors import Failure, rejected
from nulpoint.gateway.asked import Asked
from nulpoint.gateway.destination import Destination
from nulpoint.gateway.preparation import Prepared, prepare
from nulpoint.providers.equivalents import CONTEXTS, WITHOUT_IMAGES
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Target
from nulpoint.wire.json_nodes import check_node_count

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
            call = prepare_call(self.asked, self.route, self.destination(target.provider), target)
            self.ready[target.name] = call
        return call

    def fits(self, target: Target) -> bool:
        """Whether a target that the caller did not ask for can express the whole request, as far as is known."""
        body = self.asked.body
        if target.name in WITHOUT_IMAGES and b'"image_url"' in body:
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
