"""``make test-image``: the CPU and OpenVINO images are built, started, asked, stopped; the GPU's lock is had.

Each image runs as its own user, as PID 1, with a read-only root file system and a temporary ``/tmp``.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.image.builder import Builder, Image
from tests.image.stand_in import PYTHON, ROOT, debian, gpu_packages, interpreter, wheels
from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue

TOOLS = ("buildah", "debootstrap", "unshare", "chroot")

_READ_ONLY = """
set -e
root=$1; shift
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc" && mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
  touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" && mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/dev/shm"
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """An image of the Dockerfile, and what it is built and started with."""

    name: str
    arguments: Mapping[str, str]
    settings: tuple[str, ...]


KINDS = (
    Kind("pathserve-cpu", {}, ()),
    Kind("pathserve-openvino", {"OPENVINO": "1"}, ("PATHSERVE_RUNTIME=openvino",)),
)


def why_not() -> str | None:
    """Say what the machine lacks."""
    if os.geteuid() != 0:
        return "it wants root, to build with buildah and to make namespaces"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not found; apt install buildah debootstrap"
    if interpreter() is None:
        return f"no Python {PYTHON}, whose pip would download the wheels"
    return None


def inside(image: Image, settings: tuple[str, ...]) -> list[str]:
    """Return the command that a command is appended to, to run in the image as a container would."""
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-c", _READ_ONLY, "sh", str(image.root)),
        *("chroot", f"--userspec={image.user}", str(image.root)),
        *("env", "--ignore-environment", f"--chdir={image.working_folder}", *image.environment, *settings),
    ]


def try_image(image: Image, settings: tuple[str, ...]) -> None:
    """Run ``pathserve check``, then the service: a prediction, SIGTERM, exit status 0."""
    here = (*settings, "PATHSERVE_HOST=127.0.0.1", "AIP_HTTP_PORT=0")
    command = inside(image, here)
    checked = subprocess.run(
        [*command, *image.command, "check"], check=True, stdout=subprocess.PIPE, text=True
    )
    print(*(line for line in checked.stdout.splitlines() if "runtime" in line or "vector" in line), sep="\n")
    with Service({}, inside=command, command=[*image.command, *image.default]) as service:
        service.wait_healthy()
        launcher = service.launcher()
        status = Path(f"/proc/{launcher.pid}/status").read_text()
        assert status.split("NSpid:")[1].split()[1] == "1", "the launcher is not PID 1"
        assert {uid for process in service.processes() for uid in process.uids()} == {10001}
        (prediction,) = service.predict(instance(encode(tissue()[:224, :224]))).json()["predictions"]
        vector = prediction["result"]["patch_embeddings"][0]["embedding_vector"]
        assert len(vector) == 384
        assert math.hypot(*vector) > 1, "a vector of nothing"
        ended = service.stop()
        assert ended == 0, f"exit status {ended} after SIGTERM"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, for a log that is read when it hangs."""
    print(f"test-image: {what} …", flush=True)
    yield


def main() -> int:
    """Try all images; return an exit status."""
    if reason := why_not():
        in_ci = bool(os.environ.get("CI"))
        print(f"make test-image {'cannot run' if in_ci else 'was skipped'}: {reason}.")
        return int(in_ci)
    with tempfile.TemporaryDirectory(prefix="pathserve-image-") as name:
        folder = Path(name)
        builder = Builder(folder)
        with step("a Debian as base"):
            builder.import_base(debian(folder / "base"))
        with step("the wheels of both, as OpenVINO comes beside all else"):
            wheels(interpreter() or "", ROOT / "locks/openvino.lock", folder / "wheels")
        for kind in KINDS:
            with step(f"{kind.name} is built"):
                image = builder.make_image(kind.name, folder / "wheels", kind.arguments)
            print(f"{kind.name}: {image.size() / 1e9:.2f} GB unpacked")
            with step(f"{kind.name} is run"):
                try_image(image, kind.settings)
            builder.forget()
    with step("the GPU lock is installed to a folder"), tempfile.TemporaryDirectory() as name:
        folder = gpu_packages(Path(name, "packages"))
        size = sum(path.lstat().st_size for path in folder.rglob("*"))
    print(f"GPU lock: {size / 1e9:.2f} GB unpacked")
    print("test-image: all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
