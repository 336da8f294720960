"""Whom the agent takes for its node, over real TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.devnode import DevNode, World
from felhom_agent.devnode.http.certificate import make
from felhom_agent.errors import NotSent, PveError
from felhom_agent.proxmox.node import Node
from tests.conftest import TOKEN_ID, Site
from tests.hostile.raw_node import Peer, RawNode
from tests.permits import CONFIG, write
from tests.proxmox import authority, pythons


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


@pytest.mark.skipif(Path("/etc/pve").exists(), reason="this is a PVE host")
def test_where_pves_own_ca_is_not_there_nobody_is_told_to_set_the_same_file(site: Site) -> None:
    said = why(site, Path("/etc/pve/pve-root-ca.pem"))
    assert "pve-root-ca.pem cannot be used: it does not exist; a PVE host has it" in said
    assert "PVE's own CA is" not in said


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
    [
        ((-20, -10), "its certificate has expired, or an intermediate one"),
        ((10, 20), "its certificate, or an intermediate one"),
    ],
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


ANY_PYTHON = pytest.mark.parametrize("which", ["this Python", "a strict Python"])


def python_of(which: str) -> str:
    return sys.executable if which == "this Python" else pythons.strict_python()


def port_of(node: DevNode | RawNode) -> int:
    return int(urlsplit(node.endpoint).port or 0)


@ANY_PYTHON
def test_pves_own_ca_is_held_to_pythons_default_but_for_the_strict_rules(
    tmp_path: Path, which: str
) -> None:
    """By its name on the node, and by whom it is of where it was copied elsewhere."""
    by_name, elsewhere = tmp_path / "pve-root-ca.pem", tmp_path / "of-my-cluster.pem"
    with DevNode(World(), key_usage=False) as node:
        for path in (by_name, elsewhere):
            path.write_bytes(node.ca_file.read_bytes())
        found = pythons.told_by(python_of(which), port_of(node), by_name, elsewhere)
    for said in found.values():
        assert said["why"] == ""
        assert said["as default but strict"]


@ANY_PYTHON
def test_any_other_ca_and_those_of_this_host_are_held_to_pythons_default(
    tmp_path: Path, which: str
) -> None:
    """The file is the host's own by whatever name it is reached, and whosever CAs are in it."""
    of_system, other_name = tmp_path / "ca-certificates.crt", tmp_path / "pve-root-ca.pem"
    python = python_of(which)
    made = authority.make(tmp_path, organization="A company")
    with DevNode(World(), key_usage=False) as node, RawNode(made, shakes_hands) as good:
        of_system.write_bytes(node.ca_file.read_bytes())
        other_name.symlink_to(of_system)
        both = tmp_path / "both.pem"
        both.write_bytes(node.ca_file.read_bytes() + made.ca_file.read_bytes())
        files = (of_system, other_name, both)
        found = pythons.told_by(python, port_of(node), *files, of_system=(of_system,))
        trusted = pythons.told_by(python, port_of(good), made.ca_file, both)
    strict = which == "a strict Python" or sys.version_info >= (3, 13)
    for said in (*found.values(), *trusted.values()):
        assert said["as default"]
        assert said["strict"] is strict
    assert [said["why"] for said in trusted.values()] == ["", ""]
    for said in found.values():
        assert ("key usage" in said["why"]) is strict
        assert ('set ca_file to its file, "/etc/pve/pve-root-ca.pem"' in said["why"]) is strict


@KINDS
def test_the_embedded_node_is_trusted_by_a_strict_python(tmp_path: Path, key_usage: bool) -> None:
    with DevNode(World(), key_usage=key_usage) as node:
        found = pythons.told_by(pythons.strict_python(), port_of(node), node.ca_file)
    assert [said["why"] for said in found.values()] == [""]


def test_a_companys_ca_without_key_usage_is_refused_by_a_strict_python_and_what_to_do_is_told(
    tmp_path: Path,
) -> None:
    made = authority.make(tmp_path, organization="A company", key_usage=False)
    with RawNode(made, shakes_hands) as node:
        (said,) = pythons.told_by(pythons.strict_python(), port_of(node), made.ca_file).values()
    assert "its certificate, or one of a CA that signed it" in said["why"]
    assert "have it made anew, or set fingerprint" in said["why"]


@ANY_PYTHON
def test_a_node_of_acme_is_trusted_by_the_root_of_its_chain(tmp_path: Path, which: str) -> None:
    made = authority.make(tmp_path, organization="A company", intermediate=10)
    with RawNode(made, shakes_hands) as node:
        (said,) = pythons.told_by(python_of(which), port_of(node), made.ca_file).values()
    assert said["why"] == ""


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


def test_an_expired_ca_beside_another_is_told_as_what_may_be_at_fault(
    site: Site, tmp_path: Path
) -> None:
    made = authority.make(tmp_path, ca_ends=-1)
    other = authority.make(folder(tmp_path, "other"))
    two = tmp_path / "two.pem"
    two.write_bytes(made.ca_file.read_bytes() + other.ca_file.read_bytes())
    with RawNode(made, shakes_hands) as node:
        said = why(site, two, endpoint=node.endpoint)
    assert "its certificate has expired, or one that signed it" in said
    assert f"of the CAs in {two} one has (on " in said


def test_an_intermediate_certificate_that_has_expired_is_not_told_to_be_the_nodes_own(
    site: Site, tmp_path: Path
) -> None:
    made = authority.make(tmp_path, intermediate=-1)
    with RawNode(made, shakes_hands) as node:
        said = why(site, made.ca_file, endpoint=node.endpoint)
    assert "its certificate has expired, or an intermediate one that it shows with it" in said


def test_a_ca_that_is_valid_only_later_is_told(site: Site, tmp_path: Path) -> None:
    made = authority.make(tmp_path, ca_begins=5)
    with RawNode(made, shakes_hands) as node:
        said = why(site, made.ca_file, endpoint=node.endpoint)
    assert f"the CA in {made.ca_file} is valid only from" in said
    assert "is the clock of this host, or of the node, wrong?" in said


def test_a_ca_file_with_a_nodes_certificate_instead_of_a_ca_is_told(
    site: Site, tmp_path: Path
) -> None:
    leaf = tmp_path / "pve-ssl.pem"
    leaf.write_text(authority.make(folder(tmp_path, "other")).shown)
    said = why(site, leaf)
    assert f"{leaf} holds no CA, but the certificate of somebody whom one has signed" in said
    assert "ACME" not in said


def folder(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


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
