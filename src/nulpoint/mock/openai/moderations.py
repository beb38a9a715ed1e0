"""The moderations endpoint of the OpenAI mock.

Sources: OpenAI's API description, `POST /moderations` (read 2026-11), and errors that users have reported.
"""

from typing import Any

from nulpoint.mock.interface import MockRequest, MockResponse, json_response

FLAGGED_TEXT = "please flag"  # a text with these words is flagged as violence
DEFAULT_MODEL = "omni-moderation-latest"
_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


def moderation_problem(body: dict[str, Any]) -> tuple[str, str, str] | None:
    """Return message, code and parameter of the error for a request that is rejected; None if it is valid."""
    model = body.get("model", DEFAULT_MODEL)
    if "moderation" not in str(model):
        return f"Invalid value for 'model' = {model}. Please check the model is a moderation model.", "", "model"
    if body.get("input") in (None, "", []):
        return "Missing required parameter: 'input'.", "missing_required_parameter", "input"
    return None


def create_moderation(request: MockRequest) -> MockResponse:
    """Respond to a valid request: one result for each text, or one for a list of parts."""
    given = request.body["input"]
    if isinstance(given, list) and isinstance(given[0], dict):
        given = [" ".join(str(part.get("text", "")) for part in given)]
    texts = given if isinstance(given, list) else [given]
    model = request.body.get("model", DEFAULT_MODEL)
    results = [_result(str(text)) for text in texts]
    return json_response({"id": f"modr-mock{request.number}", "model": model, "results": results})


def _result(text: str) -> dict[str, Any]:
    flagged = FLAGGED_TEXT in text.lower()
    categories = {name: flagged and name == "violence" for name in _CATEGORIES}
    return {
        "flagged": flagged,
        "categories": categories,
        "category_scores": {name: 0.98 if found else 0.01 for name, found in categories.items()},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
