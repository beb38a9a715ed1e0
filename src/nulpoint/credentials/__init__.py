"""Credentials that expire: obtaining them from the clouds and renewing them in the background."""
