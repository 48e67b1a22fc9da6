"""JSON Schema in short, in the part that OpenAPI 3.0 and 3.1 share."""

from __future__ import annotations

Schema = dict[str, object]


def an_object(properties: dict[str, Schema], required: list[str], description: str, **more: object) -> Schema:
    """Return the schema of an object."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        **more,
    }


def a_string(description: str, **more: object) -> Schema:
    """Return the schema of a string."""
    return {"type": "string", "description": description, **more}


def an_integer(description: str, **more: object) -> Schema:
    """Return the schema of an integer."""
    return {"type": "integer", "description": description, **more}


def a_list(items: Schema, description: str, **more: object) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "description": description, "items": items, **more}


def a_boolean(description: str) -> Schema:
    """Return the schema of a boolean, which Google's client sends as a string."""
    texts = {"type": "string", "enum": ["true", "false", "True", "False"]}
    return {"oneOf": [{"type": "boolean"}, texts], "description": description}
