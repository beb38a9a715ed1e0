"""Writes requests for Gemini's API on Vertex AI, which accepts a few other members than the Developer API."""

from functools import partial

from nulpoint.protocols.gemini.hosts import VERTEX
from nulpoint.protocols.gemini.request import render_for

render = partial(render_for, VERTEX)
