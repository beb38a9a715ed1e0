"""What the product brief says in prose and commands is there and tested, and where nulpoint differs the documentation says so.

`DIFFERENCES` is the whole list: words of the brief, and the sentence of the documentation that tells a user.
"""

import re
import subprocess

import pytest
import yaml

from support.product_brief import ROOT, TABLES, TEXT, squeezed

# Words of the brief; the page that tells the difference; its words. Spaces and line ends do not count.
DIFFERENCES = (
    ("RPM_LIMIT", "docs/moving-from-go.md", "one worker counts by itself; with several workers Redis is asked for"),
    ("APP_BASE_URL", "docs/moving-from-go.md", "there are no callbacks, so it changes nothing"),
    ("aliases", "docs/moving-from-go.md", "takes `prompt`, as OpenAI's does"),
    ("fasthttp", "docs/moving-from-go.md", "an HTTP server and an upstream client of its own"),
    ("internal/providers", "docs/moving-from-go.md", "a record in `config.yaml`"),
    ("one key", "docs/moving-from-go.md", "or a cloud's identity, or a host without keys"),
    ("SHA-256", "docs/cache.md", "a SHA-256 over all of it"),
    ("retries", "docs/failover.md", "fewer than `MAX_RETRIES`"),
    ("Retry-After", "docs/failover.md", "429 and `Retry-After`: its own value, else 60"),
    ("Liveness", "docs/moving-from-go.md", "`/readiness` is for readiness; ask `/health` for liveness"),
    ("Bad request", "docs/failover.md", "402, 404, 409 and 413 stay what they are"),
    ("trip the breaker", "docs/failover.md", "it counts only failures that are evidence against the provider"),
    ("without restarting", "docs/operations.md", "To remove them, restart the gateway"),
    ("All configuration is via", "docs/operations.md", "in its environment; in a file that setting is rejected"),
    ("anything else", "docs/moving-from-go.md", "is a 404 that names the configured providers, unless `DEFAULT_PROVIDER` is set"),
    ("requests-per-minute", "docs/limits.md", "of all callers together and of each key"),
)  # fmt: skip
# What the brief says in its prose, by words of it: the tests that hold it.
PROSE = (
    ("without touching", "tests/docs/test_examples.py", "test_python"),
    ("without restarting", "tests/live/test_changes.py", "test_adding_moving_and_removing_providers"),
    ("analysis", "tests/unit/cli/log/test_log_commands.py", ""),
    ("namespaced", "tests/integration/test_cache.py", "test_two_keys_never_share"),
    ("configured key", "tests/integration/test_proxy.py", "test_callers_keys_are_forwarded_only_when_allowed"),
    ("share a cache", "tests/integration/redis/test_shared_redis.py", "test_replicas_share_cached_responses"),
    ("regexes", "tests/unit/cache/test_exclusions.py", "test_names_and_patterns"),
    ("within the window", "tests/faults/test_breaker_faults.py", "test_a_storm_of_server_errors"),
    ("a probe", "tests/faults/test_breaker_faults.py", "test_a_probe_whose_client_disconnects"),
    ("existing SDK", "tests/integration/test_sdk.py", "test_errors_are_the_sdk_s_own"),
    ("plain string", "tests/integration/test_sdk.py", "test_embeddings_of_every_shape"),
    ("hot path", "tests/unit/telemetry/request_log/test_log_queue.py", "test_a_blocked_pipe_blocks_nobody_and_drops_are_counted"),
    ("Redis is down", "tests/integration/redis/test_shared_redis.py", "test_redis_killed_under_load"),
    ("breaker per provider", "tests/faults/test_matrix.py", ""),
    ("global state", "tests/unit/test_layers.py", "test_arrows_point_down_and_the_core_is_pure"),
    ("SLA", "bench/run.py", "measure_requests"),
)  # fmt: skip
# What the table of features promises, by a word of its first column: where it is told, and tested.
FEATURES = {
    "compatible": ("docs/quickstart.md", "tests/integration/test_sdk.py"),
    "routing": ("docs/failover.md", "tests/unit/routing/test_chains.py"),
    "failover": ("docs/failover.md", "tests/faults/test_matrix.py"),
    "cache": ("docs/cache.md", "tests/integration/test_cache.py"),
    "streaming": ("docs/failover.md", "tests/unit/protocols/openai/test_streams.py"),
    "embeddings": ("docs/cache.md", "tests/integration/test_cached_embeddings.py"),
    "metrics": ("docs/metrics.md", "tests/unit/telemetry/metrics/test_metrics.py"),
    "keys": ("docs/limits.md", "tests/integration/test_client_keys.py"),
    "deps": ("docs/quickstart.md", "tests/integration/test_process.py"),
    "logs": ("docs/request-log.md", "tests/integration/test_request_log.py"),
}


@pytest.mark.parametrize(("words", "page", "told"), DIFFERENCES)
def test_what_differs_is_told(words, page, told):
    assert words in TEXT, "the brief no longer says that"
    assert told in squeezed((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", [row for _, first, rows in TABLES if first == "Feature" for row in rows])
def test_features(row):
    (found,) = {paths for word, paths in FEATURES.items() if re.search(rf"(?i)\b{word}\b", row[0])}
    for path in found:
        assert (ROOT / path).is_file()


@pytest.mark.parametrize(("words", "path", "name"), PROSE)
def test_prose(words, path, name):
    assert words in TEXT, "the brief no longer says that"
    assert f"def {name or 'test_'}" in (ROOT / path).read_text()


def test_the_overhead_that_was_measured_last_is_below_what_is_promised():
    (promised,) = set(re.findall(r"< (\d+) ms overhead", TEXT))
    page = (ROOT / "docs/performance.md").read_text()
    (measured,) = re.findall(r"(?m)^\| P50 added at one connection: nulpoint \| (\d+) us", page)
    assert int(measured) < int(promised) * 1000


def test_make_targets():
    wanted = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"run", "mock", "mock-race", "test-race", "bench", "lint"} <= wanted
    there = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert wanted <= there
    done = subprocess.run(["make", "-n", "mock"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pytest" in done.stdout


def test_files_and_profiles():
    for target in re.findall(r"\]\(([^):]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"^cp (\S+)", TEXT, re.MULTILINE):
        assert (ROOT / name).is_file()
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for profile in re.findall(r"--profile (\w+)", TEXT):
        assert [profile] in [service.get("profiles") for service in services.values()]
    assert "MIT" in (ROOT / "LICENSE").read_text()
