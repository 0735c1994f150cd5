"""The descriptions of requests in the OpenAPI document: multipart and JSON have the same parts."""

from __future__ import annotations

from typing import Any, Final

_KINDS: Final = {"photo": "string", "photos": "array", "text": "string", "flag": "boolean", "whole": "integer"}

Part = tuple[str, str, str]
"""Name, kind (``photo``, ``photos``, ``text``, ``flag``, ``whole`` or ``number``), and description of a part."""


def request_body(*parts: Part) -> dict[str, Any]:
    """Return the description of a request that may come as multipart or as JSON."""
    required = [name for name, kind, _ in parts if kind in ("photo", "photos") or name == "name"]

    def schema(encoding: str) -> dict[str, Any]:
        properties = {}
        for name, kind, text in parts:
            picture = {"type": "string", "format": "binary" if encoding == "multipart" else "byte"}
            value: dict[str, Any] = picture if kind == "photo" else {"type": _KINDS.get(kind, "number")}
            if kind == "photos":
                value["items"] = picture
            properties[name] = {**value, "description": text}
        return {"type": "object", "properties": properties, "required": required}

    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": schema("multipart")},
                "application/json": {"schema": schema("json")},
            },
        },
        "responses": {
            status: {"$ref": "#/components/responses/Refused"}
            for status in ("400", "401", "408", "413", "415", "422", "503")
        },
    }


REFUSED: Final = {
    "description": "Refused, with a reason; 503 has Retry-After.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["kind", "reason"],
                        "properties": {"kind": {"type": "string"}, "reason": {"type": "string"}},
                    }
                },
            }
        }
    },
}

PAIR: Final[tuple[Part, ...]] = (
    ("photo_a", "photo", "First photo."),
    ("photo_b", "photo", "Second photo."),
    ("face_a", "whole", "Which face of the first photo; 0 is the largest."),
    ("face_b", "whole", "Which face of the second photo."),
    ("any_face", "flag", "Compare all faces and take the most alike pair."),
    ("aligned", "flag", "The photos are aligned crops of 112 x 112 pixels."),
    ("note", "text", "A note for the record."),
)
