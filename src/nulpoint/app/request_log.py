"""Build the request log from the configuration."""

import time
from collections.abc import Callable

from nulpoint.config import Config
from nulpoint.config.sections.request_log import LogTarget
from nulpoint.telemetry.request_log.files import DescriptorSink, FileSink
from nulpoint.telemetry.request_log.request_log import RequestLog
from nulpoint.telemetry.request_log.writer import LogSink
from nulpoint.telemetry.wall_clock import trusted_clock


def request_log(config: Config, stdout: int, on_drop: Callable[[], None]) -> RequestLog:
    """Return the request log; `stdout` is the file descriptor to use as standard output."""
    sinks = [_sink(target, config, stdout) for target in config.request_log]
    return RequestLog(sinks, config.log_level, config.log_queue, on_drop)


def _sink(target: LogTarget, config: Config, stdout: int) -> LogSink:
    shared = config.workers > 1
    if target.path is None:
        return DescriptorSink(stdout, shared=shared)
    path, retention = target.path.absolute(), config.request_log_retention
    if target.kind == "file":
        return FileSink(path, config.request_log_max_bytes, config.request_log_files, retention, trusted_clock())
    from nulpoint.telemetry.request_log.sqlite import SqliteSink  # imported only where it is needed

    return SqliteSink(path, retention, trusted_clock(), time.monotonic)
