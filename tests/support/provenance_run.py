"""A prediction with its provenance in a process of its own: ``python -m tests.support.provenance_run``.

Reads instances as JSON and writes the answer's predictions. Packages in a folder that an argument names come
first: what their metadata says is then what this process is made of.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]

    from tests.support.app import App

    with App() as app:
        json.dump(app.predict(*json.load(sys.stdin)).json()["predictions"], sys.stdout)
