"""Mock servers for the APIs of OpenAI, Anthropic, Gemini, Mistral, Bedrock, Azure and Vertex AI, with faults.

They share no code with the gateway on purpose: a mistake in shared code would be invisible in tests.
"""

from nulpoint.mock.server import MockServer, run, start
from nulpoint.mock.settings import MockSettings, SettingsError

__all__ = ["MockServer", "MockSettings", "SettingsError", "run", "start"]
