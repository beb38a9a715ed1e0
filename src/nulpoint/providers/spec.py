"""A provider as data, in a closed vocabulary: the same record in our catalogue and in a user's config.yaml."""

from collections.abc import Mapping
from typing import Literal, NoReturn

import msgspec

from nulpoint.providers.wire_formats import Call, Wire

Route = Literal["chat", "completions", "embeddings"]
IdentityKind = Literal["entra", "google", "aws"]


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different of a row where a variable has a certain value."""

    variable: str
    value: str
    base_url: str | None = None
    paths: Mapping[Call, str] = {}


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host that speaks a known wire format.

    Fields:
        name: what callers write before the slash in `provider/model`; also the metrics label.
        base_url: up to and including the version part, without a slash at the end; names of variables in braces.
        key_env: the environment variable that holds its key; null for a host that needs none, or knows none.
        wire: the format it speaks.
        auth: how the key is sent, ours or one the caller brings.
        identity: whose tokens or signatures are used where no key is set.
        paths: those that are not the format's; `{model}` in one is the model's name, names of variables stand as in
            base_url.
        variables: those that base_url and paths name, with their defaults; null is none, so it must be set.
        asked_for_by: the variables that say the user means this provider, where there are `variables`; by default those
            without a default of their own.
        variants: what is different where a variable has a certain value.
        headers: fixed header fields every request gets.
        rename: request members this host spells differently (from the OpenAI name to its name).
        drop: request members this host rejects; what is dropped is reported to the caller.
        completions: it has a real `/completions`; elsewhere a prompt is answered through chat.
        embeddings: it has `/embeddings`.
        stream_usage: `ask` turns on `stream_options.include_usage` to learn what a stream used; `inline` hosts send
            usage unasked or reject the option.
        sends_done: its streams end with `data: [DONE]`.
        idle_timeout: seconds a kept connection may idle, where shorter than UPSTREAM_IDLE_TIMEOUT.
        models: names listed by `GET /v1/models`; others are routed all the same.
    """

    name: str
    base_url: str
    key_env: str | None
    wire: Wire = "openai"
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] = "bearer"
    identity: IdentityKind | None = None
    paths: Mapping[Call, str] = {}
    variables: Mapping[str, str | None] = {}
    asked_for_by: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    headers: Mapping[str, str] = {}
    rename: Mapping[str, str] = {}
    drop: frozenset[str] = frozenset()
    completions: bool = False
    embeddings: bool = False
    stream_usage: Literal["ask", "inline"] = "ask"
    sends_done: bool = True
    idle_timeout: float | None = None
    models: tuple[str, ...] = ()

    @property
    def keys_env(self) -> str | None:
        """The environment variable that holds several keys, comma-separated."""
        return f"{self.key_env}S" if self.key_env else None

    @property
    def needs(self) -> tuple[str, ...]:
        """The variables without which it cannot be reached."""
        return tuple(name for name, default in self.variables.items() if default is None)

    @property
    def to_set(self) -> str:
        """What brings it into use."""
        return ", ".join(self.needs) or self.key_env or self.base_url_env

    @property
    def base_url_env(self) -> str:
        """The environment variable that overrides `base_url`."""
        return f"{self.name.upper().replace('-', '_')}_BASE_URL"


class Secret:
    """A credential that cannot be shown by accident: printing, formatting or encoding it gives stars or an error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")


class IdentitySettings(msgspec.Struct, frozen=True):
    """How to come by an identity's credentials: whatever its kind needs to know, by name. Equal ones are shared."""

    kind: IdentityKind
    values: tuple[tuple[str, Secret], ...] = ()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as configured: where it really is, and its keys (none: the caller brings one, or none is needed).

    `paths` are the row's own, with their variables filled in. `identity` stands in for keys. `hinted`: nothing speaks
    for it but a variable that may be there for other reasons.
    """

    spec: ProviderSpec
    base_url: str
    credentials: tuple[Secret, ...] = ()
    paths: Mapping[Call, str] = {}
    identity: IdentitySettings | None = None
    hinted: bool = False
