"""The formats of providers that do not speak OpenAI's: requests out, answers and streams back. Pure."""
