"""``make sbom``: what the image holds, and the extra for slides (CycloneDX), and a table of licences."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "sbom.json"
OPTIONAL = ("openslide-bin", "openslide-python", "tifffile")
"""Packages of the extra ``slides``, which the image does not hold: OpenSlide is under the LGPL-2.1."""


def licence_of(name: str) -> str | None:
    """Return what a package's metadata say about its licence; ``None`` if it is of another platform."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return None
    classifiers = [
        c.rpartition(" :: ")[2] for c in found.get_all("Classifier", []) if c.startswith("License")
    ]
    said = [*found.get_all("License-Expression", []), ", ".join(classifiers), *found.get_all("License", [])]
    text = next((str(entry).strip() for entry in said if entry and str(entry).strip()), "not stated")
    return text.splitlines()[0][:80]


def main() -> None:
    """Write the file and print the table."""
    subprocess.run(
        [
            str(Path(sys.executable).with_name("cyclonedx-py")),
            *("requirements", str(ROOT / "locks/runtime.lock"), "--output-file", str(OUT)),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    document = json.loads(OUT.read_text())
    document["components"] += [
        {
            "type": "library",
            "bom-ref": f"extra-{name}",
            "name": name,
            "version": version(name),
            "purl": f"pkg:pypi/{name}@{version(name)}",
            "scope": "optional",
        }
        for name in OPTIONAL
        if licence_of(name) is not None
    ]
    components = [(licence_of(component["name"]), component) for component in document["components"]]
    document["components"] = [component for licence, component in components if licence]
    for licence, component in components:
        if licence:
            component["licenses"] = [{"license": {"name": licence}}]
            print(f"{component['name']:<34} {component['version']:<12} {licence}")
    OUT.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
