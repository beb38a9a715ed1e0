"""Mock providers: a program of its own that speaks the APIs of OpenAI, Anthropic, Gemini, Mistral, Bedrock,
Azure and Vertex AI, faults included.

It shares no code with the gateway on purpose: a mistake in shared code would hide itself.
"""

from nulpoint.mock.server import MockServer, run, start
from nulpoint.mock.settings import MockSettings, SettingsError

__all__ = ["MockServer", "MockSettings", "SettingsError", "run", "start"]
