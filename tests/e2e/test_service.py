"""The installed service in a booted Debian: it starts, logs, reloads, dies and comes back."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import AGENT, AGENT_TOML, GUEST, SITE, Host

pytestmark = pytest.mark.e2e

SECOND = GUEST + '[guest.101]\nstate = "running"\n'
STRICT = (
    "import ssl, urllib.request as r; r.urlopen('https://localhost:8006/', timeout=10, "
    "context=ssl.create_default_context(cafile='/etc/pve/pve-root-ca.pem'))"
)
SLOW = {"start_seconds": 6.0}


class TestStart:
    def test_it_is_active_and_ready_once_the_first_look_has_begun(self, host: Host) -> None:
        host.write_demo()
        before = host.hands("looks")
        host.start()
        state = host.machine.show(AGENT, "ActiveState", "SubState", "NotifyAccess", "Type")
        assert state == {
            "ActiveState": "active",
            "SubState": "running",
            "NotifyAccess": "main",
            "Type": "notify",
        }
        host.wait_for("guest 100 web: done: start")
        assert host.hands("looks") > before
        assert host.hands("config", 100)["cores"] == 2

    def test_its_status_is_a_sentence(self, running: Host) -> None:
        running.machine.wait_until(
            lambda: (
                running.machine.show(AGENT, "StatusText")["StatusText"] == "1 guest as declared"
            ),
            "all is well",
        )
        running.hands("lock", 100, "backup")
        running.hands("stop", 100)
        running.machine.wait_until(
            lambda: "1 waits: 100 web: " in running.machine.show(AGENT, "StatusText")["StatusText"],
            "the status names who waits",
        )
        assert "locked (backup)" in running.machine.show(AGENT, "StatusText")["StatusText"]

    def test_a_node_that_does_not_answer_is_waited_for_and_told_once(self, host: Host) -> None:
        host.write_demo()
        host.machine.run("systemctl", "stop", "node")
        host.start()
        host.wait_for("the node cannot be observed; trying on")
        assert host.machine.show(AGENT, "ActiveState")["ActiveState"] == "active"
        assert "cannot be observed" in host.machine.show(AGENT, "StatusText")["StatusText"]
        host.begin_node()
        host.write_demo()
        host.machine.run("systemctl", "restart", AGENT)
        host.wait_for("guest 100 web: done: start")
        host.machine.run("systemctl", "stop", "node")
        host.wait_for("the node cannot be observed", times=2)
        assert len(host.said("FELHOM_EVENT=node-away")) == 2

    def test_a_node_whose_ca_is_from_before_pve_cluster_9_1_2_is_trusted(self, host: Host) -> None:
        host.machine.run("systemctl", "stop", "node")
        host.begin_node("old-ca")
        host.write_demo()
        asked = host.machine.run("python3", "-c", STRICT, check=False)
        newer = (
            "True"
            in host.machine.run(
                "python3", "-c", "import sys; print(sys.version_info >= (3, 13))"
            ).stdout
        )
        # Debian 13's Python refuses such a CA by default; else this would show nothing.
        assert ("key usage" in asked.stderr) == newer
        host.start()
        host.wait_for("guest 100 web: done: start")

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (
                "rm /etc/felhom-agent/token",
                "/etc/felhom-agent/token: the token's file is empty or missing",
            ),
            ("rm /etc/felhom-agent/agent.toml", "/etc/felhom-agent/agent.toml: "),
            (
                "echo 'intervall = 3' >> /etc/felhom-agent/agent.toml",
                "unknown key; did you mean 'interval'?",
            ),
        ],
        ids=["no token", "no file", "a wrong key"],
    )
    def test_a_wrong_configuration_fails_at_once_in_words_and_is_not_tried_again(
        self, host: Host, spoil: str, words: str
    ) -> None:
        host.write_demo()
        host.machine.shell(spoil)
        assert host.machine.run("systemctl", "start", AGENT, check=False).returncode != 0
        state = host.machine.show(AGENT, "NRestarts", "ExecMainStatus", "ActiveState")
        assert state == {"NRestarts": "0", "ExecMainStatus": "78", "ActiveState": "failed"}
        status = host.machine.run("systemctl", "status", AGENT, check=False).stdout
        assert words in status
        assert "Traceback" not in status
        (said,) = [entry for entry in host.said() if words in entry["MESSAGE"]]
        assert (said["PRIORITY"], said["FELHOM_EVENT"]) == ("3", "config-unusable")
        explained = host.machine.run("journalctl", "-x", "-u", AGENT, "--no-pager").stdout
        assert "felhom-agent cannot begin: its configuration is wrong" in explained

    def test_a_damaged_journal_is_not_tried_again_and_repaired_as_its_owner(
        self, running: Host
    ) -> None:
        machine = running.machine
        machine.run("systemctl", "stop", AGENT)
        machine.shell("sed -i '2s/op/oq/' /var/lib/felhom-agent/journal/journal.jsonl")
        assert machine.run("systemctl", "start", AGENT, check=False).returncode != 0
        state = machine.show(AGENT, "NRestarts", "ExecMainStatus")
        assert state == {"NRestarts": "0", "ExecMainStatus": "65"}
        assert len(running.said("FELHOM_EVENT=journal-damaged")) == 1
        machine.run("felhom-agent", "journal", "repair")
        owners = machine.shell("stat -c %U /var/lib/felhom-agent/journal/*").split()
        assert set(owners) == {"felhom-agent"}
        running.start()


class TestJournald:
    def test_the_story_of_one_guest_can_be_asked_for(self, running: Host) -> None:
        (done,) = running.said("VMID=100", "ACTION=Start", "FELHOM_EVENT=guest-changed")
        assert done["MESSAGE"] == "guest 100 web: done: start"
        assert done["PRIORITY"] == "6"
        assert done["UPID"].startswith("UPID:pve1:")
        assert len(done["OP_ID"]) == 12
        assert int(done["PASS"]) >= 1
        assert done["NODE"] == "pve1"
        assert done["SYSLOG_IDENTIFIER"] == "felhom-agent"
        assert done["CODE_FILE"].startswith("felhom_agent/")
        assert int(done["CODE_LINE"]) > 0
        running.hands("lock", 100, "backup")
        running.hands("stop", 100)
        running.wait_for("guest 100 web: waits: locked (backup)")
        assert [e["PRIORITY"] for e in running.said("VMID=100", "OUTCOME=blocked")] == ["4"]

    def test_an_entry_is_explained(self, running: Host) -> None:
        shown = running.machine.run("journalctl", "-x", "-u", AGENT, "--no-pager").stdout
        assert "Subject: A guest was changed, and the change was seen" in shown
        assert "felhom-agent history VMID" in shown

    def test_a_converged_look_is_silent(self, running: Host) -> None:
        running.machine.wait_until(
            lambda: running.machine.show(AGENT, "StatusText")["StatusText"].endswith("as declared"),
            "all is well",
        )
        before, looks = len(running.said()), running.hands("looks")
        running.machine.wait_until(lambda: running.hands("looks") > looks + 12, "it looks on")
        assert len(running.said()) == before


class TestReload:
    def test_a_reload_applies_a_new_guest_file(self, host: Host) -> None:
        host.write_demo(AGENT_TOML.replace("interval = 1", "interval = 86400"))
        host.start()
        host.wait_for("guest 100 web: done: start")
        host.machine.write("/etc/felhom-agent/guests.d/second.toml", SECOND.partition("\n[")[0])
        host.machine.write(
            "/etc/felhom-agent/guests.d/second.toml", '[guest.101]\nstate = "running"\n'
        )
        host.machine.run("systemctl", "reload", AGENT)
        host.wait_for("reloaded: 2 guests declared; new: 101")
        host.wait_for("guest 101 dns: done: start")
        assert host.machine.show(AGENT, "ActiveState", "NRestarts") == {
            "ActiveState": "active",
            "NRestarts": "0",
        }

    def test_a_reload_of_a_wrong_file_leaves_the_service_up(self, running: Host) -> None:
        running.machine.shell("echo '[nonsense' >> /etc/felhom-agent/agent.toml")
        running.machine.run("systemctl", "reload", AGENT)
        running.wait_for(
            "agent.toml has errors, and the one in force stays; guest files were read: "
        )
        running.hands("stop", 100)
        running.wait_for("guest 100 web: done: start", times=2)


class TestDeath:
    def test_a_process_that_hangs_is_restarted_and_finds_out_what_it_had_begun(
        self, host: Host
    ) -> None:
        host.write_demo()
        host.hands("behave", 100, SLOW)
        host.start()
        host.wait_for("guest 100 web: done: set cores")
        host.machine.wait_until(lambda: len(host.hands("asked")) == 2, "the start is asked for")
        first = host.pid()
        host.machine.run("kill", "-STOP", str(first))
        host.machine.wait_until(lambda: host.pid() not in (0, first), "systemd restarts it")
        host.wait_for("guest 100: found in flight: start")
        host.wait_for("found out: start: succeeded")
        assert [a.rpartition("/")[2] for a in host.hands("asked")] == ["config", "start"]
        manager = host.machine.journal(f"UNIT={AGENT}.service")
        assert any("Watchdog timeout" in e["MESSAGE"] for e in manager)

    def test_a_process_that_is_killed_is_restarted_and_does_nothing_twice(self, host: Host) -> None:
        host.write_demo()
        host.hands("behave", 100, SLOW)
        host.start()
        host.machine.wait_until(lambda: len(host.hands("asked")) == 2, "the start is asked for")
        first = host.pid()
        host.machine.run("kill", "-KILL", str(first))
        host.machine.wait_until(lambda: host.pid() not in (0, first), "systemd restarts it")
        host.wait_for("found out: start: succeeded")
        assert [a.rpartition("/")[2] for a in host.hands("asked")] == ["config", "start"]

    def test_a_stop_during_a_task_ends_in_time_and_the_next_start_finishes_the_operation(
        self, host: Host
    ) -> None:
        host.write_demo()
        host.hands("behave", 100, {"start_seconds": 8.0})
        host.start()
        host.machine.wait_until(lambda: len(host.hands("asked")) == 2, "the start is asked for")
        host.machine.run("systemctl", "stop", AGENT)
        assert host.machine.show(AGENT, "Result", "ActiveState") == {
            "Result": "success",
            "ActiveState": "inactive",
        }
        (left,) = host.said("FELHOM_EVENT=operation-in-flight")
        assert str(left["MESSAGE"]).startswith("guest 100 web: left in flight: start; ")
        # systemd forgets the status of a unit that is inactive; the log keeps the last word.
        assert host.said()[-1]["MESSAGE"] == "stopped; 1 task goes on in PVE"
        host.start()
        host.wait_for("found out: start: succeeded")
        assert [a.rpartition("/")[2] for a in host.hands("asked")] == ["config", "start"]


class TestControlSocket:
    def test_it_belongs_to_the_group_of_admins_and_what_else_is_kept_does_not(
        self, running: Host
    ) -> None:
        machine = running.machine
        shown = machine.shell("stat -c '%n %U:%G %a' /run/felhom-agent /run/felhom-agent/*")
        assert shown.splitlines() == [
            "/run/felhom-agent felhom-agent:felhom-admin 750",
            "/run/felhom-agent/control.sock felhom-agent:felhom-admin 660",
        ]
        kept = machine.shell("find /var/lib/felhom-agent -perm /077")
        assert kept == ""

    def test_root_may_do_all_and_members_what_is_not_kept_for_root(self, running: Host) -> None:
        machine = running.machine
        machine.shell("useradd --groups felhom-admin alice; useradd bob")
        by_alice, by_bob = (("runuser", "-u", name, "--", AGENT) for name in ("alice", "bob"))
        machine.run(*by_alice, "reconcile")
        machine.run(*by_alice, "pause", "100", "--for", "1h")
        machine.run(*by_alice, "resume", "100")
        for words in (["freeze", "--why", "x"], ["thaw"], ["approve", "x"], ["hub", "unblock"]):
            refused = machine.run(*by_alice, *words, check=False)
            assert refused.returncode == 1, words
        assert "this needs root" in machine.run(*by_alice, "thaw", check=False).stderr
        for words in (["reconcile"], ["pause", "100"]):
            refused = machine.run(*by_bob, *words, check=False)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "only root and members of the group felhom-admin" in refused.stderr
        machine.run(AGENT, "freeze", "--why", "moving")
        running.hands("stop", 100)
        running.wait_for("guest 100 web: waits: frozen by root: moving")
        machine.run(AGENT, "thaw")
        running.wait_for("guest 100 web: done: start", times=2)
        told = [str(e["MESSAGE"]) for e in running.said("FELHOM_EVENT=control-asked")]
        assert "/v1/thaw was refused to a member of felhom-admin" in " ".join(told)

    def test_a_killed_agents_socket_is_replaced_and_a_stopped_one_leaves_none(
        self, running: Host
    ) -> None:
        machine = running.machine
        machine.run("kill", "-9", str(running.pid()))
        machine.wait_until(
            lambda: machine.run(AGENT, "reconcile", check=False).returncode == 0, "it is back"
        )
        machine.run("systemctl", "stop", AGENT)
        gone = machine.run(AGENT, "reconcile", check=False)
        assert (gone.returncode, "no agent runs here" in gone.stderr) == (1, True)


class TestConfinement:
    def test_it_has_no_capability_and_cannot_get_one(self, running: Host) -> None:
        status = running.machine.shell(f"cat /proc/{running.pid()}/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        assert facts["Uid"].split()[0] == running.machine.run("id", "-u", AGENT).stdout.strip()

    def test_it_writes_to_its_own_directories_and_nowhere_else(self, running: Host) -> None:
        for directory in ("/var/lib/felhom-agent", "/run/felhom-agent", "/tmp"):  # noqa: S108
            self._touch(running, f"{directory}/x")
        for directory in ("/etc/felhom-agent", "/usr/bin", "/srv", "/var/lib", "/root", "/run"):
            failed = self._touch(running, f"{directory}/x", check=False)
            assert "Read-only file system" in failed or "Permission denied" in failed, directory

    def test_of_run_it_sees_what_it_needs_and_no_other_services_socket(self, running: Host) -> None:
        assert self._inside(running, "ls /run").split() == [
            "credentials",
            "felhom-agent",
            "felhom-agent-hints",
            "felhom-agent-notify",
            "systemd",
        ]
        # `incoming` is systemd's own, for mounts that come later; it is empty.
        there = set(self._inside(running, "ls /run/systemd").split())
        assert there - {"incoming"} == {"journal", "notify"}
        assert self._inside(running, "ls /run/credentials").split() == ["felhom-agent.service"]

    def test_it_leaves_no_core_and_no_endless_file(self, running: Host) -> None:
        limits = running.machine.shell(f"cat /proc/{running.pid()}/limits")
        lines = [line.split() for line in limits.splitlines()]
        assert ["Max", "core", "file", "size", "0", "0", "bytes"] in lines
        assert ["Max", "file", "size", "536870912", "536870912", "bytes"] in lines

    def test_it_sees_neither_homes_nor_devices_nor_others(self, running: Host) -> None:
        assert self._inside(running, "ls /dev/sda /dev/mem /dev/kvm 2>/dev/null || true") == ""
        assert self._inside(running, "ls /home /root 2>&1 || true").count("denied") >= 1
        pids = self._inside(running, "ls /proc").split()
        assert "1" not in pids

    def test_it_reaches_its_node_and_no_other_address(self, running: Host) -> None:
        machine = running.machine
        # Without the filter this host itself would refuse the connection, at once.
        machine.shell("ip addr add 192.0.2.7/24 dev lo")
        toml = AGENT_TOML.replace("[proxmox]\n", '[proxmox]\nendpoint = "https://192.0.2.9:8006"\n')
        machine.write(
            "/etc/felhom-agent/agent.toml", toml + "[proxmox2]\n".replace("[proxmox2]\n", "")
        )
        machine.run("systemctl", "restart", AGENT)
        running.wait_for("https://192.0.2.9:8006 does not accept a connection in time")

    def test_the_token_is_seen_by_nobody_else(self, running: Host) -> None:
        machine = running.machine
        token = machine.shell(f"cat {SITE}/token").strip()
        pid = running.pid()
        everything = "\n".join(
            [
                machine.run("systemctl", "show", AGENT).stdout,
                machine.run("systemctl", "status", AGENT, check=False).stdout,
                machine.run("journalctl", "--no-pager", "-o", "json", "--all").stdout,
                machine.shell(f"tr '\\0' '\\n' < /proc/{pid}/environ; cat /proc/{pid}/cmdline"),
                machine.shell("find /var/lib/felhom-agent -type f -exec cat -v {} +"),
            ]
        )
        assert len(token) > 20
        assert token not in everything
        for path in ("/run/credentials/felhom-agent.service/token", "/etc/felhom-agent/token",
                     "/var/lib/felhom-agent/journal/journal.jsonl"):  # fmt: skip
            assert machine.run("test", "-e", path).returncode == 0
            reading = machine.run("runuser", "-u", "nobody", "--", "cat", path, check=False)
            assert "Permission denied" in reading.stderr, path

    def test_systemd_finds_little_to_loosen(self, running: Host) -> None:
        running.machine.run("systemd-analyze", "security", "--threshold=12", "--no-pager", AGENT)
        verify = running.machine.run("systemd-analyze", "verify", "--man=no", f"{AGENT}.service")
        assert (verify.stdout, verify.stderr) == ("", "")

    def test_the_token_can_be_kept_encrypted(self, host: Host) -> None:
        host.write_demo()
        machine = host.machine
        machine.shell(
            "cd /etc/felhom-agent; systemd-creds encrypt --with-key=host --name=token token "
            "token.cred; rm token"
        )
        machine.write(
            f"/etc/systemd/system/{AGENT}.service.d/encrypted.conf",
            "[Service]\nLoadCredential=\n"
            "LoadCredential=pve-root-ca.pem:/etc/pve/pve-root-ca.pem\n"
            "LoadCredentialEncrypted=token:/etc/felhom-agent/token.cred\n",
        )
        machine.run("systemctl", "daemon-reload")
        host.start()
        host.wait_for("guest 100 web: done: start")

    @staticmethod
    def _inside(host: Host, script: str, *, check: bool = True) -> str:
        """Run a script where the service lives, as its user."""
        ids = host.machine.shell(f"id -u {AGENT}; id -g {AGENT}").split()
        who = (f"--setuid={ids[0]}", f"--setgid={ids[1]}")
        enter = ("nsenter", f"--target={host.pid()}", "--mount", *who)
        done = host.machine.run(*enter, "sh", "-c", script, check=check)
        return done.stdout + done.stderr

    def _touch(self, host: Host, path: str, *, check: bool = True) -> str:
        return self._inside(host, f"touch {path}", check=check)
