"""Reads what processes use: CPU time from the kernel's nanosecond clock, and memory from /proc."""

import time
from pathlib import Path


def cpu_ns(pids: list[int]) -> int:
    """Return user and system time of all threads of these processes, in nanoseconds (Linux's per-process CPU clock)."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def rss_kib(pids: list[int]) -> int:
    """Return the resident memory of these processes in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total
