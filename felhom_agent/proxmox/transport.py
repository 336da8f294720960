"""How a request travels: timeouts, trust, connections that PVE is about to drop.

An adapter for `requests` that proxmoxer's session sends through. It is the one place where a
request meets the network, whichever release of proxmoxer is above it (1.2, as Debian 12 has it,
sets no timeout at all).

* Every request has a timeout for the connection and one for the answer.
* Trust is a CA, or the fingerprint of one certificate, or, when told so, nothing.
* PVE closes a connection after 5 s without a request, and a request that meets the closing is
  lost (recorded: 82-keepalive/001). A write must not die of that, so connections which idled for
  longer than `IDLE_LIMIT` seconds are dropped before the next request.
* A redirect is not followed: PVE sends none, and the token is for this endpoint alone.
* The last response is kept, for the reason phrase and body that proxmoxer does not hand on.

An adapter serves one call at a time and holds no lock.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from felhom_agent.config import ProxmoxConfig

IDLE_LIMIT = 3.0


class PveAdapter(HTTPAdapter):
    """Sends requests as `config` says; `last` is the latest response, if one came."""

    def __init__(self, config: ProxmoxConfig) -> None:
        self._config = config
        self._used = time.monotonic()
        self.last: requests.Response | None = None
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._config.fingerprint:
            kwargs["assert_fingerprint"] = self._config.fingerprint.replace(":", "")
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Given a request, return its response. Raise a requests exception if none came."""
        config = self._config
        answer = config.read_timeout if request.method == "GET" else config.write_timeout
        kwargs["timeout"] = (config.connect_timeout, answer)
        self.last = None
        self._drop_idle_connections()
        try:
            self.last = super().send(request, **kwargs)
        finally:
            self._used = time.monotonic()
        # Without a target `requests` cannot follow a redirect, and the token stays here.
        self.last.headers.pop("Location", None)
        return self.last

    def _drop_idle_connections(self) -> None:
        if time.monotonic() - self._used > IDLE_LIMIT:
            self.poolmanager.clear()


def trust(config: ProxmoxConfig) -> bool | str:
    """Given the settings, return what `requests` shall verify a certificate against."""
    # With a fingerprint the certificate is pinned in the adapter, and no CA has a say.
    return False if config.insecure or config.fingerprint else str(config.ca_file)
