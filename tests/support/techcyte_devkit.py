"""The vendor's clients, unchanged, in a process of their own: ``python -m tests.support.techcyte_devkit``.

Posts results by each client of a copy of the devkit, and prints what came back.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CLIENTS = ("api-bridge/src/techcyte_client.py", "external-container-service/src/techcyte_client.py")


def resolve_localhost() -> None:
    """Let ``api.localhost`` be this machine (RFC 6761, 6.3), which not every resolver knows."""
    look_up = socket.getaddrinfo

    def patched(host: Any, *rest: Any, **more: Any) -> Any:
        own = isinstance(host, str) and host.endswith(".localhost")
        return look_up("127.0.0.1" if own else host, *rest, **more)

    socket.getaddrinfo = patched


def loaded(path: Path) -> ModuleType:
    """Return a file as a module."""
    spec = importlib.util.spec_from_file_location("techcyte_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def post(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Post results by one client; return status and body."""
    os.environ |= {"HOST": asked["host"], "JWT_TOKEN": asked["token"]}
    module = loaded(path)
    if "host" in module.TechcyteClient.__init__.__annotations__:
        client = module.TechcyteClient(host=asked["host"], jwt_token=asked["token"])
    else:
        client = module.TechcyteClient()
    try:
        answer = client.post_results(asked["task"], asked["results"])
    except Exception as error:
        return {"error": str(error)}
    return {"status": answer.status_code, "body": answer.json()}


if __name__ == "__main__":
    resolve_localhost()
    given = json.loads(sys.stdin.read())
    sys.stdout.write(json.dumps(post(Path(sys.argv[1]), given)))
