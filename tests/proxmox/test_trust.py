"""Whom the agent takes for its node, over real TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.devnode import DevNode, World
from felhom_agent.errors import NotSent, PveError
from tests.conftest import Site
from tests.permits import CONFIG, write


def test_another_ca_is_not_trusted_and_nothing_is_sent(site: Site, tmp_path: Path) -> None:
    with DevNode(World()) as other:
        client = site.connect(ca_file=other.ca_file).client
        with pytest.raises(NotSent, match="is not trusted"):
            write(client, "PUT", *CONFIG, data={"cores": 2})
    assert site.devnode.requests == ()


def test_a_ca_file_that_is_not_there_is_told(site: Site, tmp_path: Path) -> None:
    client = site.connect(ca_file=tmp_path / "absent.pem").client
    with pytest.raises(PveError, match="absent.pem"):
        client.get("version")


def test_a_ca_file_without_a_certificate_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    client = site.connect(ca_file=tmp_path / "junk.pem").client
    with pytest.raises(NotSent, match="junk.pem cannot be used: it holds no certificate"):
        client.get("version")


def test_the_right_fingerprint_is_trusted_and_needs_no_ca(site: Site, tmp_path: Path) -> None:
    fingerprint = site.devnode.fingerprint
    client = site.connect(fingerprint=fingerprint, ca_file=tmp_path / "absent.pem").client
    assert client.get("version")


def test_a_wrong_fingerprint_is_not_trusted_and_nothing_is_sent(site: Site) -> None:
    client = site.connect(fingerprint=":".join(["AB"] * 32)).client
    with pytest.raises(NotSent, match="has another fingerprint"):
        client.get("version")
    assert site.devnode.requests == ()


def test_insecure_trusts_whoever_answers(site: Site, tmp_path: Path) -> None:
    client = site.connect(insecure=True, ca_file=tmp_path / "absent.pem").client
    assert client.get("version")


def test_a_ca_that_was_renewed_counts_from_the_next_connection_on(
    site: Site, tmp_path: Path
) -> None:
    own = site.devnode.ca_file.read_bytes()
    ca_file = tmp_path / "ca.pem"
    with DevNode(World()) as other:
        ca_file.write_bytes(other.ca_file.read_bytes())
    client = site.connect(ca_file=ca_file).client
    with pytest.raises(NotSent, match="is not trusted"):
        client.get("version")
    ca_file.write_bytes(own)
    assert client.get("version")
    ca_file.unlink()
    assert client.get("version")
    client._sessions._idle[0].adapter.reconnect()
    with pytest.raises(NotSent, match="ca.pem cannot be used"):
        client.get("version")
