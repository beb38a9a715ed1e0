"""Checks the gateway against recorded provider traffic, without the gateway's own decoders of the formats."""
