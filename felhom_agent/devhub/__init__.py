"""A hub for trying and for tests: the contract's wire, on sqlite, and a page for a person.

It stands apart: nothing of the agent is imported here. Plain HTTP on the loopback only; a hub for
real use has TLS, accounts and backups.
"""

from felhom_agent.devhub.server import DevHub
from felhom_agent.devhub.store import Store

__all__ = ["DevHub", "Store"]
