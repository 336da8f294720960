"""A release: one version, packages that hold what they shall, a bill of materials, a repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from felhom_agent import __version__
from tests.test_devpackage import PARTS, in_dev, module_of
from tools import releasecheck, sbom

ROOT = Path(__file__).parent.parent
NAMES = ("felhom-agent", "felhom-agent-dev")
LIBRARY = "usr/lib/python3/dist-packages"
DEADLINE = 120
BUILDS = shutil.which("dh") and Path("/usr/share/perl5/Debian/Debhelper/Buildsystem/pybuild.pm")
needs_debhelper = pytest.mark.skipif(
    not (BUILDS and BUILDS.exists()), reason="debhelper and dh-python are not here (`make deb`)"
)
needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")
needs_apt = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-scanpackages")),
    reason="apt or dpkg-dev is not here",
)
needs_gpg = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not here")


def ran(*words: str | Path, **environment: str) -> str:
    """Return what a command prints. Raise AssertionError with it if it fails."""
    done = subprocess.run(
        words,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stub(directory: Path, name: str, **files: str) -> Path:
    """Make a package that holds these files in /srv, with a version as ours have it."""
    tree = directory / f"{name}.tree"
    (tree / "srv").mkdir(parents=True)
    for file, text in files.items():
        (tree / "srv" / file).write_text(text)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {__version__}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.invalid>\nDescription: a stub\n"
    )
    path = directory / f"{name}_{__version__}_all.deb"
    ran("dpkg-deb", "--root-owner-group", "-b", tree, path)
    shutil.rmtree(tree)
    return path


class TestVersion:
    def test_all_that_names_the_version_names_the_programs(self) -> None:
        assert list(releasecheck.versions()) == []
        manual = (ROOT / "packaging" / "man" / "felhom-agent.1").read_text()
        assert f'"felhom-agent {__version__}"' in manual.partition("\n")[0]
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        assert project["project"]["dynamic"] == ["version"]
        dynamic = project["tool"]["setuptools"]["dynamic"]
        assert dynamic == {"version": {"attr": "felhom_agent.__version__"}}
        assert {c["version"] for c in ours(sbom.document())} == {__version__}

    def test_each_place_that_has_another_version_is_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(releasecheck, "__version__", "0.1.1")
        assert list(releasecheck.versions()) == [
            "packaging/debian/changelog does not begin with 0.1.1",
            "CHANGELOG.md says nothing of 0.1.1",
        ]


def ours(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the components that are this project's own."""
    own = [c for c in document["components"] if c["bom-ref"].startswith("package:")]
    return [document["metadata"]["component"], *own]


class TestBillOfMaterials:
    def test_it_is_as_its_schema_says(self, tmp_path: Path) -> None:
        reason = "cyclonedx-python-lib, which has the schema, is not here"
        pytest.importorskip("cyclonedx.schema", reason=reason)
        schemas = resources.files("cyclonedx.schema") / "_res"

        def schema(name: str) -> Any:
            return json.loads((schemas / f"{name}.SNAPSHOT.schema.json").read_text())

        base = "http://cyclonedx.org/schema/"
        others = ((f"{base}{n}.SNAPSHOT.schema.json", schema(n)) for n in ("spdx", "jsf-0.82"))
        known: Registry[Any] = Registry().with_resources(
            (name, Resource.from_contents(text)) for name, text in others
        )
        (tmp_path / f"felhom-agent_{__version__}_all.deb").write_bytes(b"a package")
        validator = Draft7Validator(schema("bom-1.5"), registry=known)
        validator.validate(sbom.document(tmp_path))
        with pytest.raises(Exception, match="is not one of"):
            validator.validate({**sbom.document(), "bomFormat": "other"})

    def test_it_names_each_dependency_with_its_bound_once(self) -> None:
        found = {c["name"]: c for c in sbom.document()["components"]}
        assert found["python3-requests"]["properties"] == [
            {"name": "debian:bound", "value": ">= 2.28"}
        ]
        assert found["python3-requests"]["scope"] == "required"
        assert (found["git"]["scope"], "properties" in found["git"]) == ("optional", False)
        assert len(found) == len(sbom.document()["components"])

    def test_what_one_package_requires_is_required_though_another_only_recommends_it(self) -> None:
        wanted, needed = (sbom.Need("git", bound, scope)
                          for bound, scope in (("", "optional"), (">= 2", "required")))  # fmt: skip
        assert sbom._merged({"a": [wanted], "b": [needed]}) == [needed]
        assert sbom._merged({"a": [needed], "b": [wanted]}) == [needed]

    def test_what_depends_on_what_names_only_what_is_listed(self) -> None:
        document = sbom.document()
        known = {c["bom-ref"] for c in document["components"]}
        known.add(document["metadata"]["component"]["bom-ref"])
        for row in document["dependencies"]:
            assert {row["ref"], *row["dependsOn"]} <= known

    def test_a_package_has_its_checksum_and_the_same_source_makes_the_same_document(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / f"felhom-agent_{__version__}_all.deb"
        path.write_bytes(b"one")
        one = sbom.document(tmp_path)
        assert one == sbom.document(tmp_path)
        path.write_bytes(b"two")
        two = sbom.document(tmp_path)
        assert one["serialNumber"] != two["serialNumber"]
        assert ours(one)[1]["hashes"] != ours(two)[1]["hashes"]

    def test_a_bound_that_only_one_of_control_and_pyproject_has_is_an_error(self) -> None:
        needs = {"felhom-agent": [sbom.Need("python3-requests", ">= 2.27", "required"),
                                  sbom.Need("python3", ">= 3.11", "required")]}  # fmt: skip
        project = {"requires-python": ">=3.11", "dependencies": ["requests>=2.28", "tomli>=2.0"],
                   "optional-dependencies": {}}  # fmt: skip
        with pytest.raises(sbom.Disagreement) as told:
            sbom.check_bounds(needs, project)
        assert "requests>=2.28 in pyproject.toml, python3-requests >= 2.27" in str(told.value)
        assert "tomli>=2.0 in pyproject.toml, python3-tomli None" in str(told.value)


@needs_dpkg
class TestCheck:
    def test_a_package_that_differs_from_another_build_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        one, same = stub(tmp_path, "x", a="1"), shutil.copy(tmp_path / one_name(), tmp_path / "y")
        other = stub(tmp_path / "b", "x", a="2")
        assert list(releasecheck.differences([one], [Path(same)])) == []
        assert list(releasecheck.differences([one], [other])) == [
            f"{one.name} is another one when it is built again"
        ]

    def test_a_file_that_names_a_path_of_this_machine_is_named_also_if_it_is_compressed(
        self, tmp_path: Path
    ) -> None:
        package = stub(tmp_path, "x", plain=f"see {tmp_path}/src", fine="see /usr/bin")
        assert list(releasecheck.paths([package], [tmp_path])) == [
            f"{package.name}: srv/plain names {tmp_path}"
        ]
        zipped = tmp_path / "pages.gz"
        zipped.write_bytes(subprocess.check_output(["gzip", "-c"], input=str(tmp_path).encode()))
        assert releasecheck._plain(zipped) == str(tmp_path).encode()

    @pytest.mark.skipif(not shutil.which("lintian"), reason="lintian is not here")
    def test_what_lintian_says_is_told(self, tmp_path: Path) -> None:
        said = list(releasecheck.lintian([stub(tmp_path, "x", a="1")]))
        assert any("no-copyright-file" in line for line in said)

    @pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not here")
    def test_the_checksums_are_those_of_what_lies_beside_them(self, tmp_path: Path) -> None:
        packages = [stub(tmp_path, name, a="1") for name in NAMES]
        releasecheck.write_sums(tmp_path, packages)
        told = ran("sh", "-c", f"cd {tmp_path} && sha256sum --strict -c {releasecheck.SUMS}")
        names = [*(path.name for path in packages), releasecheck.BOM]
        assert told.splitlines() == [f"{name}: OK" for name in names]
        (tmp_path / releasecheck.BOM).write_text("{}")
        with pytest.raises(AssertionError):
            ran("sh", "-c", f"cd {tmp_path} && sha256sum --strict -c {releasecheck.SUMS}")


def one_name() -> str:
    return f"x_{__version__}_all.deb"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each package holds, as it is built."""
    directory = tmp_path_factory.mktemp("built")
    packages = releasecheck.built(directory)
    assert [path.name for path in packages] == [f"{n}_{__version__}_all.deb" for n in NAMES]
    for name, path in zip(NAMES, packages, strict=True):
        ran("dpkg-deb", "-R", path, directory / name)
    return {name: directory / name for name in NAMES}


@needs_debhelper
class TestPackages:
    def test_every_module_is_in_one_of_them_and_in_the_right_one(
        self, trees: dict[str, Path]
    ) -> None:
        there = {name: modules(tree) for name, tree in trees.items()}
        everything = {str(p.relative_to(ROOT)) for p in (ROOT / "felhom_agent").rglob("*.py")}
        dev = {path for path in everything if in_dev(module_of(ROOT / path))}
        assert PARTS
        assert there == {"felhom-agent": everything - dev, "felhom-agent-dev": dev}

    def test_the_one_for_desks_has_nothing_of_a_host(self, trees: dict[str, Path]) -> None:
        tree = trees["felhom-agent-dev"]
        others = {p.relative_to(tree).parts[:2] for p in tree.rglob("*") if p.is_file()}
        assert {parts[:2] for parts in others if parts[0] != "DEBIAN"} == {
            ("usr", "lib"),
            ("usr", "share"),
        }
        control = (tree / "DEBIAN" / "control").read_text()
        assert re.search(rf"^Depends: felhom-agent \(= {__version__}\), ", control, re.MULTILINE)
        for script in (tree / "DEBIAN").glob("p*"):
            assert "felhom-agent.service" not in script.read_text()


def modules(tree: Path) -> set[str]:
    return {
        str(p.relative_to(tree / LIBRARY)) for p in (tree / LIBRARY).rglob("felhom_agent/**/*.py")
    }


@needs_apt
class TestRepository:
    @pytest.fixture
    def dist(self, tmp_path: Path) -> Path:
        dist = tmp_path / "dist"
        dist.mkdir()
        for name in NAMES:
            stub(dist, name, a="1")
        return dist

    def test_apt_finds_both_packages_in_it(self, dist: Path, apt: Apt) -> None:
        line = ran(ROOT / "packaging" / "make-repo", DIST=str(dist)).strip()
        assert line == f"deb [trusted=yes] file:{dist}/repo ./"
        apt.use(line)
        for name in NAMES:
            assert f"Candidate: {__version__}" in apt.ran("apt-cache", "policy", name)
        apt.ran("apt-get", "download", NAMES[0])
        (fetched,) = apt.root.glob("*.deb")
        assert fetched.read_bytes() == (dist / fetched.name).read_bytes()

    def test_the_same_packages_make_the_same_repository(self, dist: Path) -> None:
        made = []
        for zone in ("UTC", "Pacific/Kiritimati"):
            ran(ROOT / "packaging" / "make-repo", DIST=str(dist), TZ=zone)
            made.append({p.name: p.read_bytes() for p in (dist / "repo").iterdir()})
        assert made[0] == made[1]
        assert made[0]["Packages.gz"][4:8] == bytes(4), "it holds no time"

    def test_without_a_key_apt_takes_it_only_from_who_says_that_it_trusts_it(
        self, dist: Path, apt: Apt
    ) -> None:
        line = ran(ROOT / "packaging" / "make-repo", DIST=str(dist)).strip()
        with pytest.raises(AssertionError, match="not signed"):
            apt.use(line.replace("[trusted=yes] ", ""))

    @needs_gpg
    def test_signed_with_a_key_apt_takes_it_by_that_key_and_not_once_it_was_changed(
        self, dist: Path, apt: Apt, gpg: Path
    ) -> None:
        (key,) = re.findall(
            r"^fpr:+(\w+):$",
            ran("gpg", "--batch", "--list-keys", "--with-colons", GNUPGHOME=str(gpg)),
            re.MULTILINE,
        )[:1]
        line = ran(
            ROOT / "packaging" / "make-repo", DIST=str(dist), KEY=key, GNUPGHOME=str(gpg)
        ).strip()
        # As CONTRIBUTING.md tells, but for where the key is put.
        keyring = dist / "repo" / "felhom-agent.gpg"
        apt.use(line.replace("/etc/apt/keyrings/felhom-agent.gpg", str(keyring)))
        assert f"Candidate: {__version__}" in apt.ran("apt-cache", "policy", NAMES[1])
        release = dist / "repo" / "InRelease"
        release.write_text(release.read_text().replace("Label: felhom", "Label: Felhom"))
        with pytest.raises(AssertionError, match="BADSIG|invalid"):
            apt.ran("apt-get", "-o", "APT::Update::Error-Mode=any", "update")


class Apt:
    """An apt of its own: nothing of this machine's is read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                     "var/lib/dpkg"):  # fmt: skip
            (root / name).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        self._conf = root / "apt.conf"
        self._conf.write_text(
            f'Dir "{root}/";\nDir::State::status "{root}/var/lib/dpkg/status";\n'
            'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'
        )

    def ran(self, *words: str) -> str:
        script = 'cd "$1" && shift && exec "$@"'
        return ran("sh", "-c", script, "sh", self.root, *words,
                   APT_CONFIG=str(self._conf), LC_ALL="C")  # fmt: skip

    def use(self, line: str) -> None:
        """Let it have one source, and read that."""
        (self.root / "etc/apt/sources.list").write_text(f"{line}\n")
        self.ran("apt-get", "-o", "APT::Update::Error-Mode=any", "update")


@pytest.fixture
def apt(tmp_path: Path) -> Apt:
    return Apt(tmp_path / "root")


@pytest.fixture
def gpg() -> Iterator[Path]:
    """A gpg with one key. Its agent's socket must have a short path."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as directory:
        home = {"GNUPGHOME": directory}
        words = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        ran("gpg", *words, "--quick-gen-key", "test <test@example.invalid>", "rsa2048", "sign",
            "never", **home)  # fmt: skip
        try:
            yield Path(directory)
        finally:
            ran("gpgconf", "--kill", "gpg-agent", **home)
