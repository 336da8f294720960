"""A Proxmox VE node in memory, served over HTTPS: for the demo and the tests.

It stands apart from the agent: it uses the option table alone, and answers as the recordings of a
real node do. `World` is the node's state and a person's hands on it, `DevNode` serves it,
`Behaviour` says how a guest behaves, `Fault` what goes wrong on the way.
"""

from felhom_agent.devnode.http.faults import Fault
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.http.server import DevNode
from felhom_agent.devnode.world.guest import Behaviour
from felhom_agent.devnode.world.world import World

__all__ = ["Behaviour", "DevNode", "Fault", "Request", "World"]
