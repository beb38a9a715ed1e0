"""Judging recorded provider traffic. Nothing here uses the codecs' own reading of a provider's format."""
