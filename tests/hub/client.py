"""Calls a hub over HTTP, and what such tests send."""

from __future__ import annotations

import base64
import json
from typing import Any

import requests

from felhom_agent.devhub import DevHub

API = "/api/v1"
NASTY = "<script>alert(1)</script>"
ARMOR = "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n"
REQUEST = {"act": "guest_destroy", "vmid": 101, "params": {"purge": False}}


class Client:
    """Calls a hub as somebody."""

    def __init__(self, hub: DevHub, key: str) -> None:
        self._url = hub.url
        self._headers = {"Authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {**self._headers, **more.pop("headers", {})}
        more.setdefault("allow_redirects", False)
        return requests.request(method, self._url + path, headers=headers, timeout=10, **more)

    def reports(self, **agent: object) -> dict[str, Any]:
        """Report as host pve1; return the envelope that comes back."""
        answer = self("POST", f"{API}/host-report", json={"host_id": "pve1", "agent": agent})
        assert answer.status_code == 200
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def fetches(self) -> list[Any]:
        """Return the jobs that host pve1 is given."""
        found = self("GET", f"{API}/hosts/pve1/jobs").json()["jobs"]
        assert isinstance(found, list)
        return found

    def page(self) -> str:
        """Return the page of host pve1."""
        answer = self("GET", "/hosts/pve1")
        assert answer.status_code == 200
        return answer.text


def signed(job_id: str = "j1", **more: object) -> dict[str, object]:
    """Return the envelope of a signed job."""
    blob = base64.b64encode(b'{"act":"force_stop","name":"web","vmid":101}').decode()
    return {"job_id": job_id, "op_blob_b64": blob, "sigs_armored": [ARMOR.format("QQ==")], **more}


def request(job_id: str = "r1", **more: object) -> dict[str, object]:
    """Return the envelope of a request."""
    return {"job_id": job_id, "request": {**REQUEST, **more}}


def request_text(**more: object) -> str:
    """Return the text of a request's file."""
    return json.dumps({"circumstances": {}, "schema": "felhom-request-v1", **more})


def pending(job_id: str = "r1", expires: object = 1_800_086_400, **more: object) -> dict[str, Any]:
    """Return what a host's report has of a request that it composed."""
    return {"job_id": job_id, "request": request_text(), "expires": expires, **more}
