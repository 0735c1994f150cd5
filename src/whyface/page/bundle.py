"""The page's own files, and its JavaScript modules joined into one script that a self-contained file can carry."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final

_FOLDER: Final = "page/web"
_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ((?:async )?(?:function\*? |const |class )([A-Za-z_$][\w$]*))", re.MULTILINE)


@cache
def page_file(name: str) -> str:
    """Return the text of one of the page's files, such as ``"style.css"``."""
    return (resources.files("whyface") / _FOLDER / name).read_text(encoding="utf-8")


def page_files() -> dict[str, str]:
    """Return all of the page's files by name."""
    folder = resources.files("whyface") / _FOLDER
    return {item.name: page_file(item.name) for item in sorted(folder.iterdir(), key=lambda item: item.name)}


@cache
def joined_script(entry: str) -> str:
    """Join a module and all that it imports into one script.

    Every module becomes a function of its own, so names of different modules cannot collide. The modules keep to a
    plain form that makes this safe: named imports of files beside them, one export a line, no renaming.

    Parameters
    ----------
    entry
        Name of the module that runs last, such as ``"report.js"``.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        source = page_file(name)
        for match in _IMPORT.finditer(source):
            if match[2] not in parts:
                add(match[2])
        body = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = {_variable(match[2])};\n", source)
        exports = ", ".join(match[2] for match in _EXPORT.finditer(body))
        body = _EXPORT.sub(r"\1", body)
        parts[name] = f"const {_variable(name)} = (() => {{\n{body}return {{{exports}}};\n}})();\n"

    add(entry)
    return '"use strict";\n' + "".join(parts.values())


def content_hash(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _variable(name: str) -> str:
    return f"from_{name.removesuffix('.js')}"
