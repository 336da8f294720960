"""Nothing that changes a guest is sent without a permit for that very action, and once."""

from __future__ import annotations

import ast
import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import felhom_agent
from felhom_agent.irreversible import Act, DeleteSnapshot, Destroy, PullPlug, Rollback
from felhom_agent.model import Change, Kind, SetConfig, Start, Stop
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.guests import Guests
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.permit import Permit, PermitError
from tests.conftest import Site

ROOT = Path(felhom_agent.__file__).parent
GATE = "reconcile/gate.py"
START = Start(100, Kind.QEMU)
CONFIG = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),), "0" * 40)
ACTIONS: list[Act] = [
    START,
    Stop(100, Kind.QEMU),
    CONFIG,
    Destroy(100, Kind.QEMU),
    Rollback(100, Kind.QEMU, "before"),
    DeleteSnapshot(100, Kind.QEMU, "before"),
    PullPlug(100, Kind.QEMU),
]
CALL = ("nodes", "pve1", "qemu", 100, "config")


def done(node: Node, action: Act, permit: object) -> None:
    """Ask a node for an action with whatever is brought for a permit."""
    match action:
        case Start():
            node.guests.start(action, permit)  # type: ignore[arg-type]
        case Stop():
            node.guests.stop(action, 5.0, permit)  # type: ignore[arg-type]
        case SetConfig():
            node.guests.set_config(action, permit)  # type: ignore[arg-type]
        case _:
            node.guests.irreversibly(action, permit)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("permit", [None, True, "permit", object(), START])
def test_what_is_no_permit_lets_nothing_through(site: Site, action: Act, permit: object) -> None:
    node = site.connect()
    with pytest.raises(PermitError, match="without a permit"):
        done(node, action, permit)
    with pytest.raises(PermitError, match="without a permit"):
        node.client.write("PUT", *CALL, data={"cores": 2}, permit=permit)  # type: ignore[arg-type]
    assert site.devnode.requests == ()


def test_a_call_that_forgets_the_permit_is_no_call(site: Site) -> None:
    node = site.connect()
    calls: list[Callable[[], object]] = [
        lambda: node.guests.start(START),  # type: ignore[call-arg]
        lambda: node.guests.stop(Stop(100, Kind.QEMU), 5.0),  # type: ignore[call-arg]
        lambda: node.guests.set_config(CONFIG),  # type: ignore[call-arg]
        lambda: node.client.write("PUT", *CALL),  # type: ignore[call-arg]
    ]
    for call in calls:
        with pytest.raises(TypeError, match="permit"):
            call()
    assert site.devnode.requests == ()


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__)
def test_a_permit_for_another_action_or_guest_lets_nothing_through(site: Site, action: Act) -> None:
    node = site.connect()
    others = [replace(action, vmid=200), replace(action, kind=Kind.LXC), replace(action)]
    for other in [*others, *(a for a in ACTIONS if a is not action)]:
        with pytest.raises(PermitError, match="is none for"):
            done(node, action, Permit(other))
    assert site.devnode.requests == ()


@pytest.mark.parametrize(
    "path",
    [
        ("nodes", "pve1", "qemu", 101, "config"),
        ("nodes", "pve1", "lxc", 100, "config"),
        ("nodes", "pve1", "qemu", 100),
        ("nodes", "pve1", "qemu", 100, "config", "x"),
        ("nodes", "pve1", "qemu", 100, "status", "start"),
        ("nodes", "pve1", "qemu", 100, "status", "stop"),
        ("nodes", "pve1", "qemu", 100, "snapshot"),
        ("access", "users"),
        (),
    ],
)
def test_a_permit_is_good_for_the_path_of_its_action_alone(
    site: Site, path: tuple[str | int, ...]
) -> None:
    client = site.connect().client
    with pytest.raises(PermitError, match="is none for POST /"):
        client.write("POST", *path, permit=Permit(CONFIG))
    assert site.devnode.requests == ()


def test_a_permit_to_delete_a_snapshot_destroys_no_guest(site: Site) -> None:
    """Two calls of one method, of which one path begins with the other."""
    client = site.connect().client
    guest = ("nodes", "pve1", "qemu", 100)
    for path, action in (
        (guest, DeleteSnapshot(100, Kind.QEMU, "before")),
        ((*guest, "snapshot", "before"), Destroy(100, Kind.QEMU)),
        ((*guest, "snapshot", "other"), DeleteSnapshot(100, Kind.QEMU, "before")),
        ((*guest, "snapshot", "other", "rollback"), Rollback(100, Kind.QEMU, "before")),
    ):
        method = "POST" if isinstance(action, Rollback) else "DELETE"
        with pytest.raises(PermitError, match="is none for"):
            client.write(method, *path, permit=Permit(action))
    with pytest.raises(PermitError, match="is none for POST"):
        client.write("POST", *guest, permit=Permit(Destroy(100, Kind.QEMU)))
    assert site.devnode.requests == ()


@pytest.mark.parametrize("twin", [lambda p: p, copy.copy], ids=["itself", "a copy"])
def test_a_permit_is_good_once(site: Site, twin: Callable[[Permit], Permit]) -> None:
    node, permit = site.connect(), Permit(START)
    second = twin(permit)
    node.guests.start(START, permit)
    before = site.devnode.mutations
    with pytest.raises(PermitError, match="was used before"):
        node.guests.start(START, second)
    assert site.devnode.mutations == before


def test_of_many_threads_with_one_permit_one_gets_through() -> None:
    permit, meeting = Permit(CONFIG), threading.Barrier(8)

    def spend(_: int) -> bool:
        meeting.wait(10)
        try:
            permit.spend("PUT", CALL)
        except PermitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(8))) == 1


def test_a_permit_shows_no_secret() -> None:
    change = Change("cipassword", "", "hunter2", secret=True)
    permit = Permit(SetConfig(100, Kind.QEMU, (change,), "x"))
    assert "hunter2" not in repr(permit)
    with pytest.raises(PermitError) as caught:
        permit.spend("PUT", ("x",))
    assert "hunter2" not in str(caught.value)


def test_every_method_of_proxmox_that_may_change_something_takes_a_permit() -> None:
    """Whatever calls `Client.write` must be given one; nothing else sends anything but GET."""
    writers = {
        f"{name}:{function.name}": function
        for name, tree in sources()
        if name.startswith("proxmox/")
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and is_write(call)
    }
    names = ("set_config", "_post", "irreversibly")
    assert set(writers) == {f"proxmox/guests.py:{name}" for name in names}
    for cls in (Guests, Client):
        for name, method in vars(cls).items():
            if name in {"start", "stop", "write", *names}:
                assert method.__annotations__["permit"] == "Permit"


def test_only_guests_writes_by_the_client() -> None:
    found = {name for name, tree in sources() for call in ast.walk(tree) if is_write(call)}
    assert found == {"proxmox/guests.py"}


def test_no_module_but_the_gate_makes_a_permit() -> None:
    makers = {
        name for name, tree in sources() if name != "proxmox/permit.py" and uses_of_permit(tree)
    }
    assert makers == {GATE}


@pytest.mark.parametrize(
    "text",
    [
        "Permit(action)",
        "permit.Permit(action)",
        "make = Permit",
        "from felhom_agent.proxmox.permit import Permit as P",
        "from felhom_agent.proxmox.permit import *",
        "from felhom_agent.proxmox import permit",
        "import felhom_agent.proxmox.permit",
        "getattr(module, 'Permit')",
        "type(permit)(action)",
        "permit.__class__(action)",
        "Permit.__new__(Permit)",
        "def f(p=Permit): ...",
        "class Mine(Permit): ...",
    ],
)
def test_another_way_to_make_a_permit_is_seen(text: str) -> None:
    assert uses_of_permit(ast.parse(text))


def test_an_annotation_makes_no_permit() -> None:
    text = "from felhom_agent.proxmox.permit import Permit\ndef f(p: Permit) -> Permit: return p"
    assert not uses_of_permit(ast.parse(text))


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the agent's modules by their names below the package."""
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def is_write(node: ast.AST) -> bool:
    """Return whether a node is a call of `Client.write`: no file's `write` has a permit."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "write"
        and (
            any(word.arg == "permit" for word in node.keywords)
            or "client" in ast.unparse(node.func.value).lower()
        )
    )


def uses_of_permit(tree: ast.AST) -> list[str]:
    """Return where a module names the class, or gets at it, other than in an annotation."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for field in ("annotation", "returns")
        if isinstance(outer := getattr(node, field, None), ast.AST)
        for inner in ast.walk(outer)
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if id(node) not in annotations and names_permit(node)
    ]


def names_permit(node: ast.AST) -> bool:
    match node:
        case ast.Name(id="Permit") | ast.Attribute(attr="Permit") | ast.Constant(value="Permit"):
            return True
        case ast.ImportFrom(module="felhom_agent.proxmox.permit", names=names):
            return any(n.asname or n.name == "*" for n in names)
        case ast.ImportFrom(module="felhom_agent.proxmox", names=names):
            return any(n.name == "permit" for n in names)
        case ast.Import(names=names):
            return any(n.name == "felhom_agent.proxmox.permit" for n in names)
        case ast.Call(func=ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)])):
            return "permit" in name
        case ast.Attribute(value=ast.Name(id=name), attr="__class__"):
            return "permit" in name
    return False
