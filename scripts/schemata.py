"""``make schemata``: write the schemata that Vertex AI wants, and that of provenance, from the code's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from serving.api import provenance_schema
from serving.api import schema as api_schema
from serving.api.json_schema import Schema

FOLDER = Path(__file__).parents[1] / "serving/api/vertex_schemata"
SCHEMATA = {"instance.yaml": api_schema.instance, "prediction.yaml": api_schema.prediction}


PROVENANCE = Path(__file__).parents[1] / "docs/provenance.schema.json"


def provenance_text() -> str:
    """Return the schema of records of provenance, as it is published."""
    return json.dumps(provenance_schema.document(), indent=2, ensure_ascii=False) + "\n"


def plain(schema: Schema) -> dict[str, Any]:
    """Return a schema with plain strings for the names of enumerations."""
    found: dict[str, Any] = json.loads(json.dumps(schema))
    return found


def main() -> None:
    """Write the files."""
    for name, schema in SCHEMATA.items():
        text = yaml.safe_dump(plain(schema()), sort_keys=False, width=100)
        (FOLDER / name).write_text(f"# Written by `make schemata`.\n{text}", encoding="utf-8")
    PROVENANCE.write_text(provenance_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
