"""One bounded HTTP call to a server that is not PVE's: a hub, a receiver of notifications."""
