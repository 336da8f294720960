"""felhom-agent keeps the guests of one Proxmox VE host as their operator declared them."""

__version__ = "0.1.0"
