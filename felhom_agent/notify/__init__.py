"""Telling people at once what the log tells: to a receiver over HTTP, and to commands of this host.

Nothing here is ever waited for by who acts on guests, and nothing here acts on one.
"""
