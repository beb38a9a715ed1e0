"""The operations of the API that clients use: one row for each endpoint that is passed to providers.

A further JSON endpoint is a row here, and its name in `operations` of the providers that have it
(`providers/catalog.py`). This module does no I/O.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from nulpoint.protocols.client_protocol import ClientProtocol
from nulpoint.protocols.openai.answers import check_completion
from nulpoint.protocols.openai.client import OPENAI_CHAT, OPENAI_CLIENT, OPENAI_COMPLETIONS
from nulpoint.protocols.openai.usage import ResponseMetadata, read_completion, read_metadata
from nulpoint.protocols.result_list import read_result_list

MODEL = "{model}"


class Operation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One endpoint. Its request is a JSON object, and its response JSON or a stream of server-sent events.

    Fields:
        name: what provider records, logs and metrics call it.
        noun: what error messages call it.
        path: the path below `/v1`. `{model}` in it stands for the name of the model, which is otherwise a member of the
            body.
        method: the HTTP method, of clients and of requests to providers.
        client_protocol: the API that clients speak.
        prompt: the member of the body that holds what the model reads, as errors about its length name it.
        default_model: the model of requests that name none; if it is None, they are rejected.
        through: the operation by which it is served at a provider that does not have it.
        streams: whether the member `stream` asks for a stream. Its client protocol must then have conversations.
        generates_text: whether the response has text whose tokens must be estimated for the limits.
        read_metadata: reads the usage and the model of a response that is not a stream, and whether it may be stored.
        check_answer: raises Failure if a response that `read_metadata` calls suspect is not an answer. Its
            arguments are the provider's name, the response and the body of the request.
        suspect_is_error: whether a response that `read_metadata` calls suspect is an error, whatever its form.
        cached: whether whole responses are cached, or each vector by itself. None: nothing is.
        shared: whether identical requests at the same moment share one call. Only what is cached can be shared.
        retried: whether a failed request may be sent to the same target again.
        fallback: the targets that may take over. Vectors of two models cannot be compared, so embeddings need the same
            model. None: no other target may.
    """

    name: str
    noun: str
    path: str
    method: str = "POST"
    client_protocol: ClientProtocol = OPENAI_CLIENT
    prompt: str = "input"
    default_model: str | None = None
    through: str | None = None
    streams: bool = False
    generates_text: bool = False
    read_metadata: Callable[[bytes], ResponseMetadata] = read_metadata
    check_answer: Callable[[str, bytes, bytes], None] | None = None
    suspect_is_error: bool = False
    cached: Literal["responses", "vectors"] | None = "responses"
    shared: bool = True
    retried: bool = True
    fallback: Literal["any model", "same model"] | None = "any model"

    @property
    def model_in_path(self) -> bool:
        return MODEL in self.path


_ROWS = (
    Operation(
        name="chat",
        noun="chat completions",
        path="/chat/completions",
        client_protocol=OPENAI_CHAT,
        prompt="messages",
        read_metadata=read_completion,
        check_answer=check_completion,
        streams=True,
        generates_text=True,
    ),
    Operation(
        name="completions",
        noun="completions",
        path="/completions",
        client_protocol=OPENAI_COMPLETIONS,
        prompt="prompt",
        read_metadata=read_completion,
        check_answer=check_completion,
        through="chat",
        streams=True,
        generates_text=True,
    ),
    Operation(name="embeddings", noun="embeddings", path="/embeddings", cached="vectors", fallback="same model"),
    # The default is the one of OpenAI's API description, `POST /moderations` (read 2026-11).
    Operation(
        name="moderations",
        noun="moderations",
        path="/moderations",
        default_model="omni-moderation-latest",
        read_metadata=read_result_list,
        suspect_is_error=True,
    ),
    Operation(
        name="rerank",
        noun="reranking",
        path="/rerank",
        prompt="documents",
        read_metadata=read_result_list,
        suspect_is_error=True,
    ),
)
OPERATIONS: Mapping[str, Operation] = {row.name: row for row in _ROWS}
