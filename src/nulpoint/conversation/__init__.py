"""Conversations as values: what a client asks and a model answers, independent of any wire protocol.

Client protocols read requests into these values and write responses from them; provider protocols do the opposite. The
modules know no wire format and do no I/O.
"""
