"""The command of `make fuzz`: tries all targets in turn for a number of seconds.

Failures are reported with the smallest input that was found. It is stored in .hypothesis/fuzz, where the next run tries it
first. Once it is understood, add it to the `seeds` of its target. SEED=.. repeats a run.
"""

import argparse
import logging
import random
import sys
import traceback
from pathlib import Path
from time import perf_counter

_TESTS = Path(__file__).parents[1]
sys.path.insert(1, str(_TESTS))

import recorded

recorded.add()

from hypothesis.errors import Flaky
from target import Target, run
from targets import TARGETS

EXAMPLES = 40  # the number of inputs of one target before the next one
_FRAMES = 4


def main() -> int:
    options = _options()
    logging.disable(logging.WARNING)  # silences dotenv's warnings about invalid lines
    chance = random.Random(options.seed)
    chosen = [target for target in TARGETS if options.target in target.name]
    if not chosen:
        print(f"no target has {options.target!r} in its name; there are: {', '.join(one.name for one in TARGETS)}")
        return 2
    print(f"seed {options.seed}, {len(chosen)} targets, {options.seconds:g} s")
    failed: dict[str, str] = {}
    end = perf_counter() + options.seconds
    tried = 0
    while perf_counter() < end and len(failed) < len(chosen):
        for target in chosen:
            if target.name in failed or (perf_counter() > end and tried >= len(chosen)):
                continue
            tried += 1
            problem = _problem(target, chance.getrandbits(32))
            if problem:
                failed[target.name] = problem
                print(f"\n--- {target.name} ---\n{problem}", flush=True)
    print(
        f"{tried * EXAMPLES} inputs or so; {len(failed)} of {len(chosen)} targets failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--target", default="", help="only targets with this in their names")
    return parser.parse_args()


def _problem(target: Target, seed: int) -> str:
    """Return why the target failed, with the input, or an empty text if it did not."""
    try:
        run(target, EXAMPLES, seed)
    except Flaky as error:
        return f"it does not fail every time: {error}"
    except BaseExceptionGroup as several:
        return "\n".join(_description(error) for error in several.exceptions)
    except Exception as error:
        return _description(error)
    return ""


def _description(error: BaseException) -> str:
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    notes = "\n".join(getattr(error, "__notes__", ()))
    return f"{''.join(frames)}{type(error).__name__}: {str(error)[:500]}\n{notes[:4000]}"


if __name__ == "__main__":
    sys.exit(main())
