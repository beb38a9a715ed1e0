"""Responses of providers in which any member is missing or replaced by a value of another type."""

import copy
from typing import Any

from hypothesis import strategies as st

HUGE = 10**400
ODD: list[Any] = [
    None, True, False, 0, 7, -1, 2**63, HUGE, 1.5, -0.0, 1e300, "", "7", "odd", "\U0001f600", [], [7], ["odd"], [[]], [{}],
    [None], {}, {"odd": 7}, {"type": []}, {"0": {}}, [{"violations": 7}],
]  # fmt: skip
MISSING = object()


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in it, including the value itself."""
    found = [here]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*here, key))
    return found


def replaced(value: Any, way: tuple[Any, ...], odd: Any) -> Any:
    if not way:
        return odd
    changed = copy.deepcopy(value)
    holder = changed
    for key in way[:-1]:
        holder = holder[key]
    if odd is MISSING:
        del holder[way[-1]]
    else:
        holder[way[-1]] = odd
    return changed


@st.composite
def odd_ones(draw: st.DrawFn, value: Any) -> Any:
    """Draw the value with one or two of its members replaced or missing."""
    for _ in range(draw(st.integers(1, 2))):
        ways = places(value)
        way = draw(st.sampled_from(ways))
        value = replaced(value, way, draw(st.sampled_from([MISSING, *ODD] if way else ODD)))
    return value
