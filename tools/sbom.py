"""What the packages depend on, as a CycloneDX document: for who must know what runs on a host.

It is made of what decides that: `packaging/debian/control` (what apt installs) and `pyproject.toml`
(the same bounds, in Python's words; where the two disagree, there is no document). Nothing is
bundled, so a component is a package of Debian, with a lower bound and no version: which version
runs is the host's own matter, and apt knows it. Times and numbers in it come from the changelog and
the text, so that the same source makes the same document. `python -m tools.sbom DIRECTORY` prints
it, with the checksums of the packages that lie there.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from felhom_agent import __version__

ROOT = Path(__file__).parent.parent
DEBIAN = ROOT / "packaging" / "debian"
PACKAGES = ("felhom-agent", "felhom-agent-dev")
_MIT = [{"license": {"id": "MIT"}}]
_SCOPES = {"Depends": "required", "Recommends": "optional"}


@dataclass(frozen=True)
class Need:
    """That a package of ours needs one of Debian's; `bound` is as in control, and may be empty."""

    name: str
    bound: str
    scope: str


class Disagreement(Exception):
    """Control and pyproject.toml do not say the same."""


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Given the text of a control file, yield its paragraphs, folded values as one line."""
    for block in re.split(r"\n\s*\n", text.strip()):
        unfolded = re.sub(r"\n[ \t]+", " ", block)
        yield dict(re.split(r":\s*", line, maxsplit=1) for line in unfolded.splitlines())


def needs(paragraph: Mapping[str, str]) -> list[Need]:
    """Given a package's paragraph, return what it needs of Debian; what the build fills in is
    left out.
    """
    found = []
    for field, scope in _SCOPES.items():
        for item in paragraph.get(field, "").split(","):
            match = re.fullmatch(r"\s*([a-z0-9][a-z0-9.+-]+)\s*(?:\((.*)\))?\s*", item)
            if match and match[1] not in PACKAGES:
                found.append(Need(match[1], match[2] or "", scope))
    return found


def check_bounds(by_package: Mapping[str, list[Need]], project: Mapping[str, Any]) -> None:
    """Given the needs of each package and pyproject's table, compare what both have. Raise
    Disagreement with all that differs.
    """
    bounds = {need.name: need.bound for found in by_package.values() for need in found}
    wanted = [*project["dependencies"], f"python{project['requires-python']}"]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    wrong = []
    for requirement in wanted:
        name, bound = re.split(r"(?=>=)", requirement, maxsplit=1)
        package = name if name == "python" else f"python-{name}"
        package = package.replace("python", "python3", 1)
        if bounds.get(package, "absent").replace(" ", "") != bound:
            wrong.append(f"{requirement} in pyproject.toml, {package} {bounds.get(package)}")
    if wrong:
        raise Disagreement(f"packaging/debian/control differs: {'; '.join(wrong)}")


def document(directory: Path | None = None) -> dict[str, Any]:
    """Return the document; with a directory, with the checksums of the packages in it. Raise
    Disagreement if control and pyproject.toml do not say the same.
    """
    by_package = {
        paragraph["Package"]: needs(paragraph)
        for paragraph in paragraphs((DEBIAN / "control").read_text())
        if "Package" in paragraph
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    check_bounds(by_package, project)
    body = {
        "metadata": {
            "timestamp": _released().replace("+00:00", "Z"),
            "component": _component("felhom-agent", "source", project["description"]),
        },
        "components": [
            *(_package(name, directory) for name in PACKAGES),
            *(_dependency(need) for need in _merged(by_package)),
        ],
        "dependencies": list(_dependencies(by_package)),
    }
    # The same document has the same number, and another one has another.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **body,
    }


def _released() -> str:
    changelog = (DEBIAN / "changelog").read_text()
    (date,) = re.findall(r"^ -- .*>  (.+)$", changelog, re.MULTILINE)[:1]
    return parsedate_to_datetime(date).isoformat()


def _component(name: str, kind: str, description: str = "") -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": f"{kind}:{name}",
        "name": name,
        "version": __version__,
        **({"description": description} if description else {}),
        "licenses": _MIT,
        "purl": f"pkg:generic/{name}@{__version__}",
    }


def _package(name: str, directory: Path | None) -> dict[str, Any]:
    component = _component(name, "package")
    path = directory / f"{name}_{__version__}_all.deb" if directory else None
    if path and path.exists():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


def _merged(by_package: Mapping[str, list[Need]]) -> list[Need]:
    """Return each package of Debian once: required where any of ours requires it."""
    merged: dict[str, Need] = {}
    for need in (need for found in by_package.values() for need in found):
        if need.name not in merged or need.scope == "required":
            merged[need.name] = need
    return [merged[name] for name in sorted(merged)]


def _dependency(need: Need) -> dict[str, Any]:
    bound = [{"name": "debian:bound", "value": need.bound}] if need.bound else []
    return {
        "type": "library" if need.name.startswith("python3-") else "application",
        "bom-ref": f"debian:{need.name}",
        "name": need.name,
        "scope": need.scope,
        "purl": f"pkg:deb/debian/{need.name}",
        **({"properties": bound} if bound else {}),
    }


def _dependencies(by_package: Mapping[str, list[Need]]) -> Iterator[dict[str, Any]]:
    yield {"ref": "source:felhom-agent", "dependsOn": [f"package:{name}" for name in PACKAGES]}
    for name in PACKAGES:
        ours = ["package:felhom-agent"] if name != "felhom-agent" else []
        found = sorted({f"debian:{need.name}" for need in by_package[name]})
        yield {"ref": f"package:{name}", "dependsOn": ours + found}


def main(words: Sequence[str]) -> None:
    """Print the document."""
    print(json.dumps(document(Path(words[0]) if words else None), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
