"""Takes off a model's name what only says where and how it is reached."""

import re

# The regions of Bedrock's inference profiles, which stand before the maker's name.
BEDROCK_REGIONS = ("us", "eu", "apac", "global", "us-gov", "jp", "au", "ca", "sa", "in")
_REGION = re.compile(rf"(?:{'|'.join(BEDROCK_REGIONS)})\.")
MAX_NAME_LENGTH = 512  # of names that are searched; no model has a longer one


def plain_name(host: str, model: str) -> str:
    """Return the name by which facts about a model are found at a host.

    Bedrock's ids lose the region of an inference profile and the front of an ARN, and Google's names lose `models/`.
    """
    model = model[:MAX_NAME_LENGTH]
    if host == "bedrock":
        name = model.rpartition("/")[2]
        match = _REGION.match(name)
        return name[match.end() :] if match else name
    if host in ("gemini", "vertexai"):
        return model.removeprefix("models/")
    return model
