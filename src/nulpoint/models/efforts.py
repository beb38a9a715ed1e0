"""Finds the level of reasoning that a model accepts for the one that a client asks for."""

from nulpoint.models.facts import EFFORTS, Effort, ModelFacts


def nearest_effort(effort: Effort, facts: ModelFacts) -> Effort | None:
    """Return the nearest level that the model accepts, or None if it accepts none.

    Of two levels that are equally near it is the higher one, because a client that asks for much reasoning should not
    get less of it. Providers that accept all levels do the same: DeepSeek and Moonshot treat `medium` as `high`.
    """
    if not facts.efforts:
        return None
    wanted = EFFORTS.index(effort)
    return min(facts.efforts, key=lambda level: (abs(EFFORTS.index(level) - wanted), -EFFORTS.index(level)))
