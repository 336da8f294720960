"""`[hub.options]`: every option of PVE has a class, and the owner's word is read exactly or not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.config.huboptions import (
    DEFAULTS,
    NEVER,
    NUMBERED,
    NUMBERS,
    OWNERS,
    Class,
    Grant,
    class_of,
    family_of,
)
from felhom_agent.config.settings import HubConfig
from felhom_agent.errors import ConfigError
from felhom_agent.model import Kind
from felhom_agent.options import PropertyString, keys, lookup
from felhom_agent.options.types import Number

GOOD = '[proxmox]\ntoken_id = "felhom-agent@pve!agent"\n[hub.options]\n'
NAMES = sorted({name.removesuffix("[n]") for kind in Kind for name in keys(kind)})
BY_DEFAULT = {grant.option for grant in DEFAULTS}
# Words that stand in the classes and are no options of PVE's.
WORDS = {"state", "unset", "stop", "restart", "identity", "dangerous",
         "snapshot", "cache", "rerror", "werror"}  # fmt: skip


def options_of(tmp_path: Path, lines: str) -> dict[str, Grant]:
    path = tmp_path / "agent.toml"
    path.write_text(GOOD + lines)
    return {grant.option: grant for grant in load(path).hub.options}


def refused(tmp_path: Path, lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        options_of(tmp_path, lines)
    return [str(p).removeprefix(f"{tmp_path}/") for p in caught.value.problems]


@pytest.mark.parametrize("name", NAMES)
def test_somebody_has_said_of_every_option_whether_a_hub_may_set_it(name: str) -> None:
    """Whoever adds an option to the table adds it here; until then it is never a hub's."""
    classes = [name in BY_DEFAULT, name in OWNERS, name in NEVER]
    assert classes.count(True) == 1, f"{name} is in none of the classes, or in several"


def test_no_class_names_what_pve_does_not_know() -> None:
    assert {*BY_DEFAULT, *OWNERS, *NEVER} - set(NAMES) == WORDS


def test_an_option_that_nobody_has_classed_is_never_a_hubs() -> None:
    assert class_of("an-option-of-tomorrow") is Class.NEVER


@pytest.mark.parametrize("kind", Kind)
def test_what_belongs_to_pve_or_root_is_never_a_hubs(kind: Kind) -> None:
    for name in keys(kind):
        option = lookup(kind, name.replace("[n]", "0"))
        assert option is not None
        if option.server_owned or option.token_never or option.read_only:
            assert class_of(name.removesuffix("[n]")) is Class.NEVER, name


def test_numbered_options_and_numbers_are_those_of_the_table() -> None:
    numbered = {n.removesuffix("[n]") for kind in Kind for n in keys(kind) if n.endswith("[n]")}
    assert numbered == NUMBERED
    assert all(name in NUMBERS for name in BY_DEFAULT - {"state", "description"})
    for name in NUMBERS:
        types = [o.type for kind in Kind if (o := lookup(kind, name))]
        for each in types:
            inner = each.keys[each.default_key].type if isinstance(each, PropertyString) else each
            assert isinstance(inner, Number), name


def test_by_default_a_hub_gets_few_numbers_within_bounds_and_no_stop() -> None:
    hub = HubConfig()
    assert {grant.option for grant in hub.options} == BY_DEFAULT == {
        "state", "description", "cores", "memory", "balloon", "cpulimit", "cpuunits",
    }  # fmt: skip
    assert all(g.is_bounded for g in hub.options if g.option in NUMBERS)
    assert (hub.may_stop, hub.stops_per_hour) == (False, 5)


def test_what_the_table_does_not_name_stays_as_by_default(tmp_path: Path) -> None:
    found = options_of(tmp_path, 'memory = "1024..2048"\nonboot = true\ndescription = false\n')
    before = {grant.option: grant for grant in DEFAULTS}
    assert found["memory"] == Grant("memory", low=Decimal(1024), high=Decimal(2048))
    assert found["onboot"] == Grant("onboot")
    assert not found["description"].given
    assert found["cores"] == before["cores"]


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("512..16384", "512", "16384"), (" 512 .. 16384 ", "512", "16384"), ("1..1", "1", "1"),
        ("0..0", "0", "0"), ("0.5..2.25", "0.5", "2.25"), ("007..8", "7", "8"),
        ("0..999999999999", "0", "999999999999"),
    ],
)  # fmt: skip
def test_a_range_is_two_numbers_and_holds_both(
    tmp_path: Path, said: str, low: str, high: str
) -> None:
    grant = options_of(tmp_path, f'cpulimit = "{said}"\n')["cpulimit"]
    bounds = (Decimal(low), Decimal(high))
    assert (grant.low, grant.high) == bounds
    assert all(grant.allows(bound) for bound in bounds)
    assert not grant.allows(bounds[0] - 1)
    assert not grant.allows(bounds[1] + 1)
    assert not grant.allows(Decimal("Infinity"))


@pytest.mark.parametrize(
    "said",
    ['"8..1"', '"1-8"', '"1...8"', '"1..8..9"', '".."', '"1.."', '"..8"', '"8"', '""', '" "', "8",
     "8.0", "-1", '"-1..8"', '"+1..8"', '"1e2..8"', '"0x1..0x8"', '"1,5..8"', '"a..b"',
     '"\\u0661..\\u0668"', '"1\\n..8"', '"1\\t..8"', '"1234567890123..1234567890124"',
     '"nan..inf"', "[]", "[1, 8]", "{}", "{ low = 1, high = 8 }", "{ a = { b = { c = true } } }",
     "inf", "nan", "2001-01-01", f'"{"9" * 5000}..{"9" * 5000}"', "12:00:00", f"{2**80}"],
    ids=lambda said: said[:20],
)  # fmt: skip
def test_what_is_no_range_is_refused_with_its_line(tmp_path: Path, said: str) -> None:
    (problem,) = refused(tmp_path, f"onboot = true\ncores = {said}\n")
    assert problem.startswith("agent.toml:5: [hub.options] cores: ")
    assert len(problem) < 200
    assert problem.isprintable()


@pytest.mark.parametrize("said", ['"1..8"', '"true"', "1", "0", "[]", "{}"])
def test_what_is_no_number_is_true_or_false(tmp_path: Path, said: str) -> None:
    (problem,) = refused(tmp_path, f"tags = {said}\n")
    assert problem.startswith("agent.toml:4: [hub.options] tags: must be true or false, not ")


@pytest.mark.parametrize(
    "name",
    ["template", "snapshot", "cache", "werror", "rerror", "smbios1", "watchdog", "freeze", "lock",
     "hookscript", "args", "vmgenid", "lxc.cap.drop", '"lxc.cap.drop"', "dev0", "unused3",
     "parallel1", "unprivileged", "stop", "restart", "identity", "dangerous"],
)  # fmt: skip
@pytest.mark.parametrize("said", ["true", "false"])
def test_what_is_never_a_hubs_cannot_be_granted(tmp_path: Path, name: str, said: str) -> None:
    (problem,) = refused(tmp_path, f"{name} = {said}\n")
    assert "a hub may never set it" in problem


def test_a_wrong_name_is_guessed_at_and_all_are_told_at_once(tmp_path: Path) -> None:
    first, second, third = refused(tmp_path, 'memroy = true\n"" = true\ncores = "2..1"\n')
    assert "is no option that a hub may be allowed; did you mean 'memory'?" in first
    assert "is no option" in second
    assert "has its lower bound last" in third


def test_a_table_of_nothing_but_errors_is_told_within_bounds(tmp_path: Path) -> None:
    problems = refused(tmp_path, "".join(f"x{n} = true\n" for n in range(500)))
    assert len(problems) == 21
    assert "480 more problems" in problems[-1]


def test_options_that_are_no_table_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'{GOOD.removesuffix("[hub.options]" + chr(10))}[hub]\noptions = ["tags"]\n')
    with pytest.raises(ConfigError, match=r"\[hub\] options: must be a table"):
        load(path)


def test_one_numbered_option_or_all_of_them_can_be_granted(tmp_path: Path) -> None:
    found = options_of(tmp_path, "net = true\nscsi0 = true\n")
    assert (found["net"].given, found["scsi0"].given) == (True, True)
    assert (family_of("net31"), family_of("rng0"), family_of("net")) == ("net", "rng0", "net")
