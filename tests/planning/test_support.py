"""What a node's PVE does not know yet: a CPU model or a flag that came with a later package."""

from __future__ import annotations

import pytest

from felhom_agent.model import Facts
from felhom_agent.options import lookup
from felhom_agent.planning.support import unsupported


def why(wire: str, actual: str, version: tuple[int, ...], package: str = "") -> str:
    option = lookup("qemu", "cpu")
    assert option is not None
    packages = {"qemu-server": package} if package else {}
    return unsupported(option, "cpu", wire, actual, Facts(version=version, packages=packages))


@pytest.mark.parametrize(
    ("wire", "package", "told"),
    [
        (
            "host,flags=+aes;+nested-virt",
            "9.0.26",
            "cpu.flags: nested-virt needs qemu-server 9.0.27",
        ),
        ("host,flags=-nested-virt", "8.4.10", "cpu.flags: nested-virt needs qemu-server 9.0.27"),
        ("EPYC-Turin", "9.1.3", "cpu.cputype: EPYC-Turin needs qemu-server 9.1.4"),
        ("x86-64-v3,hidden=1", "7.4-7", "cpu.cputype: x86-64-v3 needs qemu-server 8.0.4"),
    ],
)
def test_a_word_that_came_later_is_told_with_the_package_that_brought_it(
    wire: str, package: str, told: str
) -> None:
    assert told in why(wire, "", (9, 2), package)


@pytest.mark.parametrize(
    ("wire", "actual", "package"),
    [
        ("host,flags=+aes;+nested-virt", "", "9.0.27"),
        ("EPYC-Turin", "", "9.1.4"),
        ("EPYC-Turin,hidden=1", "EPYC-Turin", "9.1.3"),
        ("host,flags=-nested-virt;+aes", "host,flags=+nested-virt", "9.0.1"),
        ("kvm64,flags=+pcid", "", "7.0-1"),
        ("custom-mine", "", "7.0-1"),
    ],
)
def test_what_the_node_has_or_its_package_knows_is_sent(
    wire: str, actual: str, package: str
) -> None:
    assert why(wire, actual, (9, 2), package) == ""


def test_without_the_packages_version_the_release_tells() -> None:
    assert "needs PVE 9.1; this node has 8.4" in why("host,flags=+nested-virt", "", (8, 4))
    assert why("host,flags=+nested-virt", "", (9, 1)) == ""
    assert why("host,flags=+nested-virt", "", ()) == ""
