"""Measures what the signature of a request costs (AWS Signature Version 4), in this process, without sockets.

Run it alone with `python bench/signing.py`.
"""

import time
from statistics import median
from typing import Any

from figures import Row
from nulpoint.providers.sigv4 import AwsKeys, AwsSigner

REQUESTS = 2_000  # per round
BODY = b'{"messages":[{"role":"user","content":[{"text":"%b"}]}]}' % (b"x" * 2000)
_HOST = "bedrock-runtime.us-east-1.amazonaws.com"
_PATH = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"


def measure_signing(rounds: int, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure it with a session token, because roles have one."""
    keys = AwsKeys("AKIABENCHBENCHBENCH0", "secret-of-the-bench", "token" * 200)
    signer = AwsSigner(keys, "us-east-1", "bedrock")
    times = []
    for _ in range(rounds):
        now = time.time()
        began = time.process_time()
        for number in range(REQUESTS):
            signer.headers("POST", _HOST, _PATH, BODY, now + number)
        times.append((time.process_time() - began) / REQUESTS * 1e6)
    raw["signature us"] = times
    rows.append(("CPU of a signature (SigV4), a request of 2 kB", f"{median(times):.1f} us", "<= 60 us"))


def main() -> None:
    rows: list[Row] = []
    measure_signing(20, rows, {})
    for name, value, target in rows:
        print(f"{name}: {value} {target}")


if __name__ == "__main__":
    main()
