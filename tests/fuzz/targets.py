"""The list of all fuzz targets."""

import fuzz_bodies
import fuzz_cache_entries
import fuzz_config
import fuzz_eventstream
import fuzz_http
import fuzz_log
import fuzz_redaction
import fuzz_redis
import fuzz_requests
import fuzz_responses
import fuzz_sse
import fuzz_streams
from target import Target

_MODULES = (
    fuzz_http, fuzz_sse, fuzz_eventstream, fuzz_bodies, fuzz_requests, fuzz_responses, fuzz_streams, fuzz_cache_entries,
    fuzz_redaction, fuzz_config, fuzz_redis, fuzz_log,
)  # fmt: skip
TARGETS: tuple[Target, ...] = tuple(target for module in _MODULES for target in module.TARGETS)
assert len({target.name for target in TARGETS}) == len(TARGETS)
