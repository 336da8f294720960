"""Whom the agent takes for its node, over real TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.devnode import DevNode, World
from felhom_agent.devnode.http.certificate import make
from felhom_agent.errors import NotSent, PveError
from felhom_agent.proxmox import trust
from felhom_agent.proxmox.node import Node
from tests.conftest import TOKEN_ID, Site
from tests.hostile.raw_node import Peer, RawNode
from tests.permits import CONFIG, write
from tests.proxmox import authority


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
    assert "junk.pem cannot be used: it holds no certificate" in why(site, tmp_path / "junk.pem")


def why(site: Site, ca_file: Path, **changes: object) -> str:
    """Return why a node is not trusted with such a CA: in one line that is not too long."""
    with pytest.raises(NotSent) as caught:
        site.connect(ca_file=ca_file, **changes).client.get("version")
    assert site.devnode.requests == ()
    said = caught.value.text
    assert said.isprintable()
    assert len(said) <= 500
    return said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "but a private key"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "is damaged"),
        ("0\x82\x03", "it holds no certificate"),
    ],
)
def test_what_is_in_a_ca_file_that_is_no_certificate_is_told(
    site: Site, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "odd.pem").write_text(content, encoding="latin-1")
    said = why(site, tmp_path / "odd.pem")
    assert f"odd.pem cannot be used: {words}" in said or words in said
    assert "PVE's own CA is /etc/pve/pve-root-ca.pem" in said


def test_a_ca_file_that_is_no_file_is_told(site: Site, tmp_path: Path) -> None:
    assert "absent.pem cannot be used: it does not exist" in why(site, tmp_path / "absent.pem")
    assert "cannot be used: it is a directory" in why(site, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "cannot be used: it is not a file" in why(site, tmp_path / "fifo")


def test_which_ca_was_asked_is_told_and_what_to_set_for_acme(site: Site, tmp_path: Path) -> None:
    with DevNode(World()) as other:
        own = tmp_path / "pve-root-ca.pem"
        own.write_bytes(other.ca_file.read_bytes())
        said = why(site, own)
        assert f"its certificate is not of PVE's own CA in {own}" in said
        assert 'set ca_file = "/etc/ssl/certs/ca-certificates.crt" and endpoint to its name' in said
        assert "or fingerprint" in said
        assert f"not of the CA in {other.ca_file}" in why(site, other.ca_file)
    if (system := Path("/etc/ssl/certs/ca-certificates.crt")).exists():
        assert "set ca_file to PVE's own CA" in why(site, system)


@pytest.mark.parametrize(
    ("days", "words"),
    [((-20, -10), "has expired; renew it on the node"), ((10, 20), "is valid only later")],
)
def test_a_certificate_out_of_its_time_is_told(
    site: Site, tmp_path: Path, days: tuple[int, int], words: str
) -> None:
    made = authority.make(tmp_path, begins=days[0], ends=days[1])
    with RawNode(made, shakes_hands) as node:
        assert words in why(site, made.ca_file, endpoint=node.endpoint)


def shakes_hands(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        peer.secure()


@pytest.fixture
def strict_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose contexts are strict from the start, as `create_default_context` is in 3.13."""

    class Strict(ssl.SSLContext):
        def __new__(cls, protocol: int) -> Strict:
            made = super().__new__(cls, protocol)
            made.verify_flags |= ssl.VERIFY_X509_STRICT
            return made

    assert Strict(ssl.PROTOCOL_TLS_CLIENT).verify_flags & ssl.VERIFY_X509_STRICT
    monkeypatch.setattr(trust, "ssl", SimpleNamespace(**{**vars(ssl), "SSLContext": Strict}))


KINDS = pytest.mark.parametrize(
    "key_usage", [True, False], ids=["pve-cluster 9.1.2", "before pve-cluster 9.1.2"]
)


@KINDS
def test_the_node_of_a_ca_with_and_without_key_usage_is_trusted(
    tmp_path: Path, key_usage: bool
) -> None:
    with DevNode(World(), key_usage=key_usage) as node:
        client = Node.connect(asked_of(node, tmp_path)).client
        assert client.get("version")
        client.close()


@KINDS
@pytest.mark.usefixtures("strict_python")
def test_both_kinds_of_ca_are_trusted_where_python_is_strict_from_the_start(
    tmp_path: Path, key_usage: bool
) -> None:
    with DevNode(World(), key_usage=key_usage) as node:
        client = Node.connect(asked_of(node, tmp_path)).client
        assert client.get("version")
        client.close()


def test_a_ca_without_key_usage_is_what_strict_rules_refuse(tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    with DevNode(World(), key_usage=False) as node:
        context = ssl.create_default_context(cafile=str(node.ca_file))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        host, port = urlsplit(node.endpoint).hostname, urlsplit(node.endpoint).port
        with (
            socket.create_connection((str(host), int(port or 0)), timeout=5.0) as plain,
            pytest.raises(ssl.SSLCertVerificationError, match="key usage"),
        ):
            context.wrap_socket(plain, server_hostname=str(host))


@pytest.mark.usefixtures("strict_python")
def test_the_strict_rules_count_where_the_cas_of_this_host_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the host's own by whatever name it is reached."""
    with DevNode(World(), key_usage=False) as node:
        of_system, other_name = tmp_path / "ca-certificates.crt", tmp_path / "ca-bundle.crt"
        of_system.write_bytes(node.ca_file.read_bytes())
        other_name.symlink_to(of_system)
        monkeypatch.setattr(trust, "_OF_SYSTEM", (of_system,))
        for path in (of_system, other_name):
            with pytest.raises(NotSent) as caught:
                Node.connect(replace(asked_of(node, tmp_path), ca_file=path)).client.get("version")
            assert "key usage" in caught.value.text
            assert "set ca_file to its file" in caught.value.text


@pytest.mark.usefixtures("strict_python")
def test_only_the_one_flag_is_cleared(tmp_path: Path) -> None:
    made = authority.make(tmp_path)
    context = trust._context(ProxmoxConfig(ca_file=made.ca_file))
    assert context.verify_flags == ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).verify_flags
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def asked_of(node: DevNode, directory: Path) -> ProxmoxConfig:
    """Return a configuration for a node."""
    token_file = directory / "token"
    token_file.write_text(node.world.token(TOKEN_ID))
    token_file.chmod(0o600)
    return ProxmoxConfig(
        endpoint=node.endpoint,
        node="pve1",
        token_id=TOKEN_ID,
        token_file=token_file,
        ca_file=node.ca_file,
    )


def test_a_ca_that_has_expired_is_told_from_a_certificate_that_has(
    site: Site, tmp_path: Path
) -> None:
    made = authority.make(tmp_path, ca_ends=-1)
    with RawNode(made, shakes_hands) as node:
        said = why(site, made.ca_file, endpoint=node.endpoint)
    assert f"the CA in {made.ca_file} has expired on" in said
    assert "start the service again" in said


def test_a_key_that_is_too_weak_is_told(site: Site, tmp_path: Path) -> None:
    made = authority.make(tmp_path, bits=1024)
    with RawNode(made, shakes_hands) as node:
        said = why(site, made.ca_file, endpoint=node.endpoint)
    assert "takes for too weak; make it anew on the node" in said
    assert str(made.ca_file) in said


def test_a_name_that_the_certificate_has_not_is_told(site: Site, tmp_path: Path) -> None:
    identity = make(tmp_path, "192.0.2.1")
    with RawNode(identity, shakes_hands) as node:
        said = why(site, identity.ca_file, endpoint=node.endpoint)
    assert "is not for the name in endpoint" in said
    assert "set endpoint in [proxmox] to a name that the certificate has" in said


def test_the_right_fingerprint_is_trusted_and_needs_no_ca(site: Site, tmp_path: Path) -> None:
    fingerprint = site.devnode.fingerprint
    client = site.connect(fingerprint=fingerprint, ca_file=tmp_path / "absent.pem").client
    assert client.get("version")


def test_a_wrong_fingerprint_is_not_trusted_and_nothing_is_sent(site: Site) -> None:
    client = site.connect(fingerprint=":".join(["AB"] * 32)).client
    with pytest.raises(NotSent, match="has the fingerprint") as caught:
        client.get("version")
    assert site.devnode.fingerprint in str(caught.value)
    assert ":".join(["AB"] * 32) in str(caught.value)
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
