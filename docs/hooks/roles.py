"""Make docstrings fit for Markdown: roles become links, sessions become code, angle brackets stay what they are."""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

ROLE: Final = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`(?:([^`<]+) <)?(~?)([\w.]+)>?`")
CODE_OR_BRACKET: Final = re.compile(r"(`+).*?\1|^    .*$|<(?=\w)", re.DOTALL | re.MULTILINE)
SESSION: Final = re.compile(r"(?:^(?:>>>|\.\.\.).*\n?)+", re.MULTILINE)
SECTION: Final = re.compile(r"^(?=[A-Z]\w*\n-{3,}$)", re.MULTILINE)


class Roles(griffe.Extension):
    """A link where the name is known and has a place on the site, plain code where not."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite every docstring of the package."""
        _rewrite(pkg)


def _rewrite(found: Any) -> None:
    if found.docstring is not None:
        text = ROLE.sub(lambda role: _link(found, role), found.docstring.value)
        before, *sections = SECTION.split(text, maxsplit=1)
        # Lines of a section are indented, too, but are no code.
        before = SESSION.sub(_fenced, _escaped(before))
        found.docstring.value = "".join([before, *(_escaped_section(section) for section in sections)])
    for member in found.members.values():
        if not member.is_alias:
            _rewrite(member)


def _escaped(text: str) -> str:
    """Keep ``<S, W>`` from being taken for HTML, and write the colon of a code block once."""
    text = CODE_OR_BRACKET.sub(lambda found: "&lt;" if found[0] == "<" else found[0], text)
    return text.replace("::\n\n", ":\n\n")


def _escaped_section(text: str) -> str:
    return "\n".join(line[: len(line) - len(line.lstrip())] + _escaped(line.lstrip()) for line in text.split("\n"))


def _fenced(session: re.Match[str]) -> str:
    lines = (re.sub(r"\s*# doctest:.*", "", line) for line in session[0].rstrip().split("\n"))
    return "\n".join(["```pycon", *lines, "```", ""])


def _link(found: Any, role: re.Match[str]) -> str:
    said, short, name = role.groups()
    shown = said or (name.rsplit(".", 1)[-1] if short else name)
    try:
        target = found.modules_collection[found.resolve(name)]
    except (griffe.NameResolutionError, griffe.AliasResolutionError, KeyError):
        return f"`{shown}`"
    public = all(not part.startswith("_") for part in target.canonical_path.split("."))
    return f"[`{shown}`][{target.canonical_path}]" if public and target.has_docstring else f"`{shown}`"
