"""The names of tools, and of their parameters, that the providers accept, by wire protocol.

Sources: Anthropic's messages for names that it rejects; the service model of `bedrock-runtime` (`ToolName`);
google-genai 3.6.1 (`FunctionDeclaration`) and the messages of Gemini's API, which allow different characters, so that
only those are used which all of them allow; Mistral's message for such names; OpenAI's API description
(`FunctionObject`).
"""

import re

from nulpoint.conversation.names import NameRule, NameRules

_WORDS = re.compile(r"[a-zA-Z0-9_-]+")
# Claude has this rule at every host.
_CLAUDE_PARAMETERS = NameRule(re.compile(r"[a-zA-Z0-9_.-]+"), 64)

ANTHROPIC_NAMES = NameRules(NameRule(_WORDS, 128), _CLAUDE_PARAMETERS)
BEDROCK_NAMES = NameRules(NameRule(_WORDS, 64), _CLAUDE_PARAMETERS)
GEMINI_NAMES = NameRules(NameRule(re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]*"), 64))
MISTRAL_NAMES = NameRules(NameRule(_WORDS, 64))
OPENAI_NAMES = NameRules(NameRule(_WORDS, 64))
