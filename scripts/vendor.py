"""``make vendor``: renew what is kept of other projects, as the ``vendor.json`` beside it says.

To change a version, change ``version`` and empty ``integrity``; ``npm pack`` fetches it, and the hashes of
what was taken are written down. A test holds the files to them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTS = (ROOT / "serving/view/static/vendor/vendor.json", ROOT / "tests/support/vendor/vendor.json")


def main() -> int:
    """Renew all files; return an exit status."""
    for path in LISTS:
        packages = json.loads(path.read_text(encoding="utf-8"))
        for name, package in packages.items():
            _renew(path.parent, name, package)
        path.write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")
    return 0


def _renew(folder: Path, name: str, package: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        spec = f"{name}@{package['version']}"
        subprocess.run(
            ["npm", "pack", "--silent", spec], cwd=temporary, check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(temporary).glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
        if package["integrity"] not in ("", f"sha512-{digest}"):
            sys.exit(f"{spec} is not what it was: sha512-{digest}")
        package["integrity"] = f"sha512-{digest}"
        files = package["files"]
        assert isinstance(files, dict)
        with tarfile.open(archive) as tar:
            for target, entry in files.items():
                member = tar.extractfile(f"package/{entry['from']}")
                assert member is not None, entry
                content = member.read()
                entry["sha256"] = hashlib.sha256(content).hexdigest()
                (folder / target).write_bytes(content)
        print(f"{spec}: {', '.join(files)}")


if __name__ == "__main__":
    sys.exit(main())
