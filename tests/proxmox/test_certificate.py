"""What a node's certificate says is shown, whatever it is worth."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from felhom_agent.devnode import DevNode, World
from felhom_agent.errors import FelhomError
from felhom_agent.proxmox.certificate import (
    fingerprint_of,
    is_trusted,
    shown,
    where_on_this_host,
)
from tests.conftest import Site


def test_names_issuer_and_times_are_those_of_the_certificate(site: Site) -> None:
    found = shown(replace(site.proxmox, ca_file=Path("/absent")))
    assert found.fingerprint == site.devnode.fingerprint
    assert "localhost" in found.names
    assert "trustme" in found.issuer
    assert found.begins is not None
    assert found.ends is not None
    assert found.begins < datetime.now(UTC).timestamp() < found.ends
    assert site.devnode.requests == (), "nothing is asked, and no token is sent"


@pytest.mark.parametrize("expires", [datetime(2001, 1, 1, tzinfo=UTC)])
def test_one_that_has_expired_is_shown_too(
    site: Site, monkeypatch: pytest.MonkeyPatch, expires: datetime
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("pve1.example", not_after=expires)
    monkeypatch.setattr(trustme.CA, "issue_cert", lambda *_, **__: made)
    with DevNode(World()) as node:
        found = shown(replace(site.proxmox, endpoint=node.endpoint))
    assert found.ends == expires.timestamp()
    assert found.names == ("pve1.example",)


def test_whether_it_is_trusted_as_things_are(site: Site) -> None:
    assert is_trusted(site.proxmox)
    assert is_trusted(replace(site.proxmox, fingerprint=site.devnode.fingerprint))
    assert not is_trusted(replace(site.proxmox, fingerprint=":".join(["AB"] * 32)))


def test_a_node_that_does_not_answer_is_an_error_in_words(site: Site) -> None:
    with DevNode(World()) as gone:
        endpoint = gone.endpoint
    with pytest.raises(FelhomError, match=endpoint):
        shown(replace(site.proxmox, endpoint=endpoint))


def test_a_certificate_of_this_host_is_known_by_its_file(tmp_path: Path) -> None:
    pem = trustme.CA().issue_cert("pve1").cert_chain_pems[0].bytes()
    found = fingerprint_of(ssl.PEM_cert_to_DER_cert(pem.decode()))
    (tmp_path / "other.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n!\n")
    (tmp_path / "own.pem").write_bytes(b"# of ACME\n" + pem + pem)
    places = [tmp_path / name for name in ("absent.pem", "other.pem", "own.pem")]
    assert where_on_this_host(found, places) == tmp_path / "own.pem"
    assert where_on_this_host(found, places[:2]) is None
