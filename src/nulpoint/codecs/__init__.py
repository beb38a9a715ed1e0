"""The formats of providers that do not speak OpenAI's: requests out, answers and streams back. Pure.

A request is read once (`chat_request`, `tools`, `response_format`), told to the provider by its `<format>_request`, and
what that had to wrap is undone by `wrapping`. Answers are read by the file named as the format.
"""
