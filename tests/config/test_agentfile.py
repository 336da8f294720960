"""agent.toml: what is accepted, what is refused, and that secrets stay secret."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import socket
from pathlib import Path

import pytest

from felhom_agent.authz.hostblob import HOST_ACTS, REVOCATION
from felhom_agent.authz.parameters import ACTS
from felhom_agent.authz.signerline import Role
from felhom_agent.config import settings as config_module
from felhom_agent.config.agentfile import load
from felhom_agent.config.secret import Secret, read_secret
from felhom_agent.config.settings import SECTIONS, SIGNED_ACTS, KeyRole, ProxmoxConfig
from felhom_agent.errors import ConfigError

GOOD = """\
[proxmox]
token_id = "felhom-agent@pve!agent"
token_file = "token"
"""
UUID = "5ecc1e17-0000-4000-8000-00000badcafe"


def written(directory: Path, text: str) -> Path:
    path = directory / "agent.toml"
    path.write_text(text)
    return path


def refusals(directory: Path, text: str) -> list[str]:
    """Return the problems of a file, without the directory."""
    with pytest.raises(ConfigError) as caught:
        load(written(directory, text))
    return [str(p).removeprefix(f"{directory}/") for p in caught.value.problems]


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.proxmox.endpoint == "https://localhost:8006"
    assert config.proxmox.ca_file == Path("/etc/pve/pve-root-ca.pem")
    assert config.proxmox.node == socket.gethostname().split(".")[0]
    assert config.desired.directory is None
    assert config.reconcile.interval == 60.0


def test_relative_paths_are_taken_from_the_files_own_directory(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD + '[desired]\ndirectory = "guests.d"\n'))
    assert config.proxmox.token_file == tmp_path / "token"
    assert config.desired.directory == tmp_path / "guests.d"


def test_every_problem_of_a_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
[proxmox]
endpoint = "http://localhost:8006"
token_id = "felhom-agent"
tokenfile = "/x"
insecure = "yes"

[reconsile]
interval = 5
[reconcile]
interval = 0
parallel = 1.5
jitter = true
mode = "observ"
[journal]
directory = 7
"""
    assert refusals(tmp_path, text) == [
        (
            "agent.toml:2: [proxmox] endpoint: must be like https://localhost:8006; "
            "PVE's API speaks https alone"
        ),
        (
            "agent.toml:3: [proxmox] token_id: must be like user@realm!name, as "
            "`pveum user token list USER` shows it"
        ),
        "agent.toml:4: [proxmox] tokenfile: unknown key; did you mean 'token_file'?",
        'agent.toml:5: [proxmox] insecure: must be true or false, without quotes, not "yes"',
        "agent.toml:7: unknown section [reconsile]; did you mean 'reconcile'?",
        "agent.toml:10: [reconcile] interval: must be a number from 1 to 86400, not 0",
        "agent.toml:11: [reconcile] parallel: must be a whole number from 0 to 64, not 1.5",
        "agent.toml:12: [reconcile] jitter: must be a number from 0 to 1, not true",
        (
            'agent.toml:13: [reconcile] mode: must be "enforce" or "observe"; '
            "did you mean 'observe'?"
        ),
        "agent.toml:15: [journal] directory: must be a string in quotes, not 7",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f'token = "{UUID}"', "a secret does not belong in this file"),
        ('node = "no_such.name"', "must be a node's short name"),
        ('fingerprint = "AA:BB"', "must be 32 pairs of hex digits"),
        ('ca_file = ""', "must be a path"),
        (f'token_file = "{UUID}"', "the secret itself belongs in there"),
        (f'token_file = "me@pve!x={UUID}"', "the secret itself belongs in there"),
        ('insecure = true\nca_file = "/x"', "contradicts ca_file"),
        ("read_timeout = nan", "must be a number from 0.1 to 600, not nan"),
        ("read_timeout = inf", "must be a number from 0.1 to 600, not inf"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path, line: str, told: str) -> None:
    good = GOOD.replace('token_file = "token"\n', "") if "token_file" in line else GOOD
    (refusal,) = refusals(tmp_path, good + line + "\n")
    assert told in refusal
    assert UUID not in refusal


@pytest.mark.parametrize(
    "endpoint",
    [
        "ftp://h", "https://", "https://h/path", "https://u:p@h", "https://h:99999", "nonsense",
        "https://h:0", "https://h:-1", "https://h:x", "https://h:", "https://[::1", "https://::1",
        "https://:8006", "https://h h:8006", "http://h:8006", "https://h?x=1", "https://h:8006#x",
        "https://h:80060", "https://h: 8006", "h:8006", "https://h:1.5", "https://[::1]:0",
    ],
)  # fmt: skip
def test_only_a_plain_https_url_is_an_endpoint(tmp_path: Path, endpoint: str) -> None:
    (refusal,) = refusals(tmp_path, GOOD + f'endpoint = "{endpoint}"\n')
    assert "endpoint: must be like https://localhost:8006; " in refusal


@pytest.mark.parametrize("port", ["0", "99999", "-1", "65536", "x", "", "1.5", "8006a"])
@pytest.mark.parametrize("host", ["pve1", "192.0.2.1", "[fd00::1]"])
def test_a_wrong_port_is_told_with_the_bounds(tmp_path: Path, host: str, port: str) -> None:
    (refusal,) = refusals(tmp_path, GOOD + f'endpoint = "https://{host}:{port}"\n')
    assert f'must be a whole number from 1 to 65535, not "{port}"' in refusal


@pytest.mark.parametrize(
    "endpoint",
    ["https://h", "https://h:1", "https://h:65535/", "https://[fd00::1]:8006", "HTTPS://H"],
)
def test_a_good_endpoint_is_taken(tmp_path: Path, endpoint: str) -> None:
    path = written(tmp_path, GOOD + f'endpoint = "{endpoint}"\n')
    assert load(path).proxmox.endpoint == endpoint


def test_a_section_must_be_a_table(tmp_path: Path) -> None:
    assert "agent.toml:1: [journal] must be a table, on a line of its own" in refusals(
        tmp_path, "journal = 1\n" + GOOD
    )


def test_a_whole_token_as_its_id_is_refused_without_showing_the_secret(tmp_path: Path) -> None:
    text = f'[proxmox]\ntoken_id = "felhom-agent@pve!agent={UUID}"\n'
    (refusal,) = refusals(tmp_path, text)
    assert "belongs in token_file" in refusal
    assert UUID not in refusal


def test_the_first_backoff_may_not_exceed_the_cap(tmp_path: Path) -> None:
    (refusal,) = refusals(tmp_path, GOOD + "[reconcile]\nbackoff_first = 9\nbackoff_cap = 5\n")
    assert "is greater than backoff_cap" in refusal


def test_the_secret_is_read_from_its_file_and_shown_nowhere(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    config.proxmox.token_file.write_text(f"{UUID}\n")
    config.proxmox.token_file.chmod(0o600)
    secret = read_secret(config.proxmox)
    assert secret.reveal() == UUID
    for shown in (repr(secret), str(secret), f"{secret}", repr(config), str([secret])):
        assert UUID not in shown


def test_a_pasted_whole_token_in_the_secrets_file_is_understood(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    config.proxmox.token_file.write_text(f"felhom-agent@pve!agent={UUID}\n")
    config.proxmox.token_file.chmod(0o640)
    assert read_secret(config.proxmox) == Secret(UUID)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (UUID, 0o644, "every user can read the token's secret; run: chmod 600"),
        ("", 0o600, "is empty; put the token's secret in"),
        ("\ufeff \r\n", 0o600, "is empty; put the token's secret in"),
        (f'"{UUID}"\n', 0o600, "nothing else; take the quotes away"),
        (f"\u201c{UUID}\u201d", 0o600, "a typographic quote"),
        (f"token = {UUID}", 0o600, "in one line without blanks; it has 3 words"),
        (f"other@pve!agent={UUID}", 0o600, "holds the secret of other@pve!agent, but token_id in"),
        ("felhom-agent@pve!agent=", 0o600, "the token's secret is missing"),
        (f"{UUID} {UUID}", 0o600, "must hold the token's secret and nothing else"),
        (
            "\x00\udcff",
            0o600,
            "cannot be read: it is not text; put the token's secret in, as `pveum",
        ),
        ("x" * 10_001, 0o600, "; token_file in [proxmox] names it; put the token's secret in, as"),
        (
            None,
            0o600,
            "No such file or directory; `felhom-agent init` makes the token and this file, which",
        ),
    ],
)
def test_a_secrets_file_that_is_not_fit_is_refused_without_showing_it(
    tmp_path: Path, content: str | None, mode: int, told: str
) -> None:
    config = load(written(tmp_path, GOOD))
    path = config.proxmox.token_file
    if content is not None:
        path.write_text(content, errors="surrogateescape")
        path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_secret(config.proxmox)
    assert told in str(caught.value)
    assert UUID not in str(caught.value)


def test_every_setting_is_documented() -> None:
    """The reference manual is made of these texts."""
    tree = ast.parse(inspect.getsource(config_module))
    for cls in SECTIONS.values():
        (body,) = [
            n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__
        ]
        documented = {
            ast.unparse(first.target)
            for first, then in itertools.pairwise(body)
            if isinstance(first, ast.AnnAssign)
            and isinstance(then, ast.Expr)
            and isinstance(then.value, ast.Constant)
        }
        assert documented == {f.name for f in dataclasses.fields(cls)}


class TestCredentials:
    """What systemd hands to the service goes before the paths that only root can read."""

    @pytest.fixture
    def credentials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        directory = tmp_path / "credentials"
        directory.mkdir()
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
        return directory

    def load(self, tmp_path: Path, more: str = "") -> ProxmoxConfig:
        path = tmp_path / "agent.toml"
        path.write_text(f'[proxmox]\ntoken_id = "me@pve!agent"\n{more}')
        return load(path).proxmox

    def test_they_stand_for_the_token_and_the_ca(self, tmp_path: Path, credentials: Path) -> None:
        (credentials / "token").write_text("secret\n")
        (credentials / "token").chmod(0o400)
        (credentials / "pve-root-ca.pem").write_text("certificate\n")
        config = self.load(tmp_path)
        assert config.ca_file == credentials / "pve-root-ca.pem"
        assert read_secret(config).reveal() == "secret"

    def test_a_blank_one_counts_as_absent(self, tmp_path: Path, credentials: Path) -> None:
        """The unit file gives a blank where a file is not there."""
        (credentials / "token").write_text("\n")
        config = self.load(tmp_path)
        assert (config.token_file, config.ca_file) == (
            ProxmoxConfig.token_file,
            ProxmoxConfig.ca_file,
        )

    @pytest.mark.parametrize("blank", ["", "\n", " \r\n"])
    def test_a_blank_one_beside_a_file_that_is_not_readable_is_told_as_an_empty_file(
        self, tmp_path: Path, credentials: Path, blank: str
    ) -> None:
        (credentials / "token").write_text(blank)
        config = dataclasses.replace(self.load(tmp_path), token_file=tmp_path / "absent")
        with pytest.raises(ConfigError) as caught:
            read_secret(config)
        assert "absent: the token's file is empty or missing; put the token's secret in" in str(
            caught.value
        )

    def test_what_the_file_says_goes_before_them(self, tmp_path: Path, credentials: Path) -> None:
        (credentials / "token").write_text("secret\n")
        config = self.load(tmp_path, 'token_file = "/elsewhere"\n')
        assert config.token_file == Path("/elsewhere")


@pytest.mark.parametrize(
    ("said", "named", "others"),
    [
        ("[]", [], [100, 101]),
        ("[101]", [101], [100, 102]),
        ('["101", "200-299", 300]', [101, 200, 250, 299, 300], [100, 199, 301]),
        ('["999999998-999999999"]', [999_999_999], [100]),
    ],
)
def test_guests_for_the_hub_are_named_by_vmid_and_range(
    tmp_path: Path, said: str, named: list[int], others: list[int]
) -> None:
    hub = load(written(tmp_path, f"{GOOD}[hub]\nguests = {said}\n")).hub
    assert all(hub.names(vmid) for vmid in named)
    assert not any(hub.names(vmid) for vmid in others)


def test_without_a_word_the_hub_speaks_for_no_guest(tmp_path: Path) -> None:
    hub = load(written(tmp_path, GOOD)).hub
    assert not any(hub.names(vmid) for vmid in (0, 100, 999_999_999))
    assert hub.max_guests == 500


@pytest.mark.parametrize(
    "said",
    ["101", '"101"', "true", "[true]", "[99]", "[-101]", "[1000000000]", "[101.0]", '["200-100"]',
     '["all"]', '["*"]', '["100-"]', '["-100"]', '["100 - 200"]', '["0100"]', '["100-200-300"]',
     "[[101]]", "[{}]", '["\\u0661\\u0660\\u0660"]', f"[0x{'f' * 4000}]",
     f"[{', '.join(['100'] * 1001)}]"],
    ids=lambda said: said[:20],
)  # fmt: skip
def test_what_names_no_guest_is_refused_in_words(tmp_path: Path, said: str) -> None:
    (refusal,) = refusals(tmp_path, f"{GOOD}[hub]\nguests = {said}\n")
    assert refusal.startswith("agent.toml:5: [hub] guests: must ")
    assert len(refusal) < 200


@pytest.mark.parametrize(
    "url", ["https://h\u00fcb.example", "https://hub.example/a b", "https://hub.example:99999",
            "https://hub.example:0", "https://hub.example/\\u0007"],
)  # fmt: skip
def test_a_hub_that_no_request_could_name_is_refused(tmp_path: Path, url: str) -> None:
    (refusal,) = refusals(tmp_path, f'{GOOD}[hub]\nurl = "{url}"\n')
    assert refusal.startswith("agent.toml:5: [hub] url: must be ")


def test_signers_the_clock_that_counts_and_the_spool_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    good = '[proxmox]\ntoken_id = "a@pve!bc"\n'
    path.write_text(good)
    found = load(path).authz
    assert found.signers == Path("/etc/felhom-agent/signers")
    assert found.spool == Path("/var/spool/felhom-agent")
    assert found.clock == "synchronised"
    path.write_text(f'{good}[authz]\nsigners = "keys"\nclock = "trust"\nspool = ""\n')
    found = load(path).authz
    assert (found.signers, found.clock, found.spool) == (tmp_path / "keys", "trust", None)
    path.write_text(f'{good}[authz]\nclock = "always"\n')
    with pytest.raises(ConfigError, match=r'agent.toml:4: .*"synchronised" or "trust"'):
        load(path)
    path.write_text(f'{good}[authz]\nsigners = ""\n')
    with pytest.raises(ConfigError, match=r"agent.toml:4: .*must be a path, not empty"):
        load(path)


def test_who_must_sign_what_is_said_class_by_class(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    more = """[authz]
separate_requester = true
touch_required = ["recovery", "operational"]
[authz.threshold]
guest_destroy = 2
key_rotation = 8
"""
    path.write_text(f'[proxmox]\ntoken_id = "a@pve!bc"\n{more}')
    found = load(path).authz
    assert (found.keys_for("guest_destroy"), found.keys_for("key_rotation")) == (2, 8)
    assert found.keys_for("thaw") == 1
    assert found.separate_requester
    assert {str(role) for role in found.touch_required} == {str(role) for role in Role}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[authz.threshold]\nguest_destroy = 0", "must be a whole number from 1 to 8"),
        ("[authz.threshold]\nguest_destroy = 9", "must be a whole number from 1 to 8"),
        ("[authz.threshold]\nguest_destroy = true", "must be a whole number from 1 to 8"),
        ('[authz.threshold]\nguest_destroy = "2"', "must be a whole number from 1 to 8"),
        ("[authz.threshold]\nguest_destory = 2", "did you mean"),
        ("[authz.threshold]\nkey_revocation = 2", "no class of signed acts"),
        ("[authz]\nthreshold = 2", "must be a table"),
        ('[authz]\ntouch_required = "recovery"', "a list of roles"),
        ('[authz]\ntouch_required = ["root"]', '"operational" or "recovery"'),
        ("[authz]\ntouch_required = [1]", "a role in quotes"),
        ('[authz]\nseparate_requester = "yes"', "true or false"),
    ],
)
def test_a_wrong_word_on_signers_has_its_own_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[proxmox]\ntoken_id = "a@pve!bc"\n{line}\n')
    with pytest.raises(ConfigError) as found:
        load(path)
    (problem,) = found.value.problems
    assert said in problem.text
    assert problem.place.line >= 3


def test_each_class_that_may_need_more_signers_is_one_that_is_signed() -> None:
    assert set(SIGNED_ACTS) == (ACTS.keys() | HOST_ACTS) - {REVOCATION}
    assert {str(role) for role in KeyRole} == {str(role) for role in Role}
