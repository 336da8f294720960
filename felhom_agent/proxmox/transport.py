"""How a request travels: bounds, trust, connections that PVE is about to drop.

An adapter for `requests` that proxmoxer's session sends through. It is the one place where a
request meets the network, whichever release of proxmoxer is above it (1.2, as Debian 12 has it,
sets no timeout at all).

* Every call as a whole has a time for the connection and one for the answer, and a size that its
  answer may have (`deadline`). The body is read here and nowhere else.
* Trust is a CA, or the fingerprint of one certificate, or, when told so, nothing.
* PVE closes a connection after 5 s without a request, and a request that meets the closing is
  lost (recorded: 82-keepalive/001). A write must not die of that, so connections which idled for
  longer than `IDLE_LIMIT` seconds are dropped before the next request.
* A redirect is not followed: PVE sends none, and the token is for this endpoint alone.
* Nothing of an answer is kept for the next request: no cookie, no bytes that came too many.
* The last response is kept, for the reason phrase and body that proxmoxer does not hand on.

An adapter serves one call at a time and holds no lock.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.proxmox.deadline import Bounds, Line
from felhom_agent.service.flag import Signal

IDLE_LIMIT = 3.0
_PIECE = 65536


class PveAdapter(HTTPAdapter):
    """Sends requests as `config` says; `last` is the latest response, if one came."""

    def __init__(self, config: ProxmoxConfig) -> None:
        self._config = config
        self._used = time.monotonic()
        self._line = Line(verify=trust(config) is not False)
        self.last: requests.Response | None = None
        super().__init__(max_retries=0)

    def bound(self, method: str, size: int, abandon: Signal | None = None) -> Bounds:
        """Given a method and how many bytes its answer may have, begin a call; return its bounds.

        With `abandon` the call is given up soon after that event is set.
        """
        config = self._config
        answer = config.read_timeout if method == "GET" else config.write_timeout
        self.last = None
        self._line.bounds = Bounds(config.connect_timeout, answer, size, abandon)
        return self._line.bounds

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._config.fingerprint:
            kwargs["assert_fingerprint"] = self._config.fingerprint.replace(":", "")
        super().init_poolmanager(*args, ssl_context=self._line.context, **kwargs)
        # A table of the instance: the module's own is every other program part's, too.
        self.poolmanager.pool_classes_by_scheme = {"https": self._line.pool_class}

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Given a request, return its response. Raise a requests exception if none came.

        `bound` was called before.
        """
        # Counted as it comes, a body that is compressed would be unpacked without a bound.
        request.headers["Accept-Encoding"] = "identity"
        kwargs["stream"] = True
        self._drop_idle_connections()
        try:
            self.last = _read(super().send(request, **kwargs))
        except requests.RequestException:
            raise
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            if isinstance(error, OSError) and not self._line.bounds.sent:
                raise  # a CA file that cannot be used
            raise requests.ConnectionError(error) from error
        except ValueError as error:  # a chunk's size that is no number
            raise requests.ConnectionError(error) from error
        finally:
            self._used = time.monotonic()
        return self.last

    def reconnect(self) -> None:
        """Send the next request on a new connection."""
        self.poolmanager.clear()

    def _drop_idle_connections(self) -> None:
        if time.monotonic() - self._used > IDLE_LIMIT:
            self.reconnect()


def _read(came: requests.Response) -> requests.Response:
    """Given a response of which the head was read, return it whole, and without its connection."""
    pieces = []
    try:
        while piece := came.raw.read(_PIECE, decode_content=False):
            pieces.append(piece)
    except BaseException:
        came.raw.close()
        raise
    came.raw.release_conn()
    whole = requests.Response()
    whole.status_code, whole.reason = came.status_code, came.reason
    whole.url, whole.request = came.url, came.request
    whole.headers = came.headers
    whole.raw = io.BytesIO(b"".join(pieces))
    # Without a target `requests` cannot follow a redirect, and the token stays here.
    whole.headers.pop("Location", None)
    return whole


def trust(config: ProxmoxConfig) -> bool | str:
    """Given the settings, return what `requests` shall verify a certificate against."""
    # With a fingerprint the certificate is pinned in the adapter, and no CA has a say.
    return False if config.insecure or config.fingerprint else str(config.ca_file)
