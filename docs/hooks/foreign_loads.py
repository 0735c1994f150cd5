"""Refuse a built site that loads a script, style, font or picture from another host."""

from __future__ import annotations

import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

# Warnings of mkdocs' own loggers end a strict build with status 1.
LOG: Final = logging.getLogger("mkdocs.hooks.foreign_loads")
LOADED: Final = {"audio", "embed", "iframe", "img", "object", "script", "source", "track", "video"}
FOLLOWED: Final = {"canonical", "alternate", "next", "prev", "author", "license"}
"""What a ``link`` element may name without the browser loading it."""
FOREIGN: Final = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
BY_SCRIPT: Final = {"mermaid": "https://unpkg.com/ (mermaid)", "md-source": "https://api.github.com/ (md-source)"}
"""What Material's own script fetches where a page has an element of such a class."""
IN_STYLE: Final = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)


def on_post_build(config: MkDocsConfig) -> None:
    """Look at every page and style sheet."""
    for path, address in foreign_loads(Path(config.site_dir)):
        LOG.warning("%s loads %s from another host", path, address)


def foreign_loads(site: Path) -> list[tuple[Path, str]]:
    """List what the pages and style sheets of a folder load from other hosts, each with its file.

    Pages may link to other hosts: a link is followed only when a reader asks for it.
    """
    found = [(path, address) for path in sorted(site.rglob("*.html")) for address in loads_of_page(_text(path))]
    found += [(path, address) for path in sorted(site.rglob("*.css")) for address in IN_STYLE.findall(_text(path))]
    return found


def loads_of_page(text: str) -> list[str]:
    """List the addresses on other hosts that a browser fetches when it shows a page."""
    page = _Page()
    page.feed(text)
    return page.found


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        addresses = []
        if tag in LOADED:
            addresses = [values.get("src", ""), values.get("data", ""), *values.get("srcset", "").split(",")]
        elif tag == "link" and not set(values.get("rel", "").split()) & FOLLOWED:
            addresses = [values.get("href", "")]
        self.found += [address.strip() for address in addresses if FOREIGN.match(address)]
        self.found += IN_STYLE.findall(values.get("style", ""))
        self.found += [BY_SCRIPT[name] for name in values.get("class", "").split() if name in BY_SCRIPT]

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += IN_STYLE.findall(data)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
