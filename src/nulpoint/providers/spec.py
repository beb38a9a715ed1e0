"""The record that describes a provider, both in the catalogue and in a user's config.yaml."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Literal, NoReturn

import msgspec

from nulpoint.providers.dialect import PLAIN, Dialect
from nulpoint.providers.operations import OPERATIONS, Operation
from nulpoint.providers.wire_formats import WIRE_FORMATS, Call, Wire

Route = str  # the name of an operation
IdentityKind = Literal["entra", "google", "aws"]


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a provider that differ when a variable has a certain value."""

    variable: str
    value: str
    base_url: str | None = None
    paths: Mapping[Call, str] = {}


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of a provider that uses a known wire format.

    Fields:
        name: the part before the slash in `provider/model`; also the metrics label.
        base_url: the URL up to and including the version, without a trailing slash; variables are written in braces.
        key_env: the environment variable that holds the key; null if the provider takes no key.
        like: the built-in provider that it resembles, if it is not one itself: its models are known by that one.
        wire: the wire format.
        auth: how a key is sent, whether it is configured or brought by the client.
        identity: the kind of account whose tokens or signatures are used if no key is set.
        paths: the paths that differ from those of the wire format; they may contain `{model}` and variables in braces.
        variables: the variables in base_url and paths with their defaults; one whose default is null must be set.
        asked_for_by: the variables that bring the provider into use, if it has `variables`; by default, those whose
            default is null.
        variants: the fields that differ when a variable has a certain value.
        headers: fixed headers that are added to every request.
        rename: request parameters that have another name at this provider, by their OpenAI name.
        rename_response: members of responses that have another name at this provider: for each operation, the names
            that clients get, by the provider's.
        drop: request parameters that this provider rejects; the response tells the client which were dropped.
        dialect: in what its chat format differs from OpenAI's, if its wire format is `openai`.
        operations: what it offers, by the names in `providers/operations.py`. Without `completions`, the requests of
            that endpoint are translated to `chat`.
        stream_usage: `ask` requests the usage of a stream with `stream_options.include_usage`; `inline` is for
            providers that always send it or reject the option.
        sends_done: whether its streams end with `data: [DONE]`.
        idle_timeout: seconds after which an idle connection is closed, if shorter than UPSTREAM_IDLE_TIMEOUT.
        models: names for `GET /v1/models` besides those of known models; other names are routed too.
        models_path: the path of its list of models if that differs from the wire format's; empty if it has none.
        deployments: whether its models have the names that users gave to their deployments.
    """

    name: str
    base_url: str
    key_env: str | None
    like: str | None = None
    wire: Wire = "openai"
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] = "bearer"
    identity: IdentityKind | None = None
    paths: Mapping[Call, str] = {}
    variables: Mapping[str, str | None] = {}
    asked_for_by: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    headers: Mapping[str, str] = {}
    rename: Mapping[str, str] = {}
    rename_response: Mapping[str, Mapping[str, str]] = {}
    drop: frozenset[str] = frozenset()
    dialect: Dialect = PLAIN
    operations: tuple[str, ...] = ("chat",)
    stream_usage: Literal["ask", "inline"] = "ask"
    sends_done: bool = True
    idle_timeout: float | None = None
    models: tuple[str, ...] = ()
    models_path: str | None = None
    deployments: bool = False

    def offers(self, route: Route) -> bool:
        """Return whether the provider can serve an operation, perhaps by means of another one."""
        return route in self.operations or OPERATIONS[route].through in self.operations

    def operation_for(self, operation: Operation) -> str:
        """Return the name of the provider's own operation that serves one which it offers."""
        return operation.name if operation.name in self.operations else operation.through or operation.name

    def speaks(self, operation: Operation) -> bool:
        """Return whether requests for an operation are passed on, because the provider has it in the client's form."""
        conversations = operation.client_protocol.conversations
        if conversations is None:
            return True
        return operation.name in self.operations and conversations.name in WIRE_FORMATS[self.wire].speaks

    @property
    def host(self) -> str:
        """The name of the built-in provider under which the facts about its models are listed."""
        return self.like or self.name

    @property
    def list_path(self) -> str:
        """The path of its list of models; empty if it has none with the names that requests use."""
        if self.deployments:
            return ""
        return WIRE_FORMATS[self.wire].models_path if self.models_path is None else self.models_path

    @property
    def keys_env(self) -> str | None:
        """The environment variable that holds several keys, comma-separated."""
        return f"{self.key_env}S" if self.key_env else None

    @property
    def required_variables(self) -> tuple[str, ...]:
        """The variables that must be set to reach the provider."""
        return tuple(name for name, default in self.variables.items() if default is None)

    @property
    def variables_to_set(self) -> str:
        """The variables that bring the provider into use, as text for a message."""
        return ", ".join(self.required_variables) or self.key_env or self.base_url_env

    @property
    def base_url_env(self) -> str:
        """The environment variable that overrides `base_url`."""
        return f"{self.name.upper().replace('-', '_')}_BASE_URL"


class Secret:
    """A credential that cannot be shown by accident: printing or formatting it gives stars, encoding it an error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the code that sends it."""
        return self._value

    def digest(self) -> bytes:
        """Return the SHA-256 of the value, by which equal credentials are recognised in all processes."""
        return sha256(self._value.encode()).digest()

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")


class IdentitySettings(msgspec.Struct, frozen=True):
    """The settings from which an identity's credentials are obtained, by name. Equal identities share a credential."""

    kind: IdentityKind
    values: tuple[tuple[str, Secret], ...] = ()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A configured provider.

    Fields:
        spec: the provider's record.
        base_url: the URL where it is reached, with its variables filled in.
        credentials: its keys; empty if clients bring their own or none is needed.
        paths: the record's own paths, with their variables filled in.
        identity: the account that is used instead of keys.
        autodetected: whether it is only in use because of a variable that may be set for other reasons.
    """

    spec: ProviderSpec
    base_url: str
    credentials: tuple[Secret, ...] = ()
    paths: Mapping[Call, str] = {}
    identity: IdentitySettings | None = None
    autodetected: bool = False
