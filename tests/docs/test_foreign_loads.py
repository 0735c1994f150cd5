"""The site's check against loads from other hosts finds each of them, and lets links be."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreign_loads import foreign_loads, loads_of_page

AWAY = "https://cdn.example.org/x"


@pytest.mark.parametrize(
    "tag",
    [
        f'<script src="{AWAY}"></script>',
        f'<script SRC="{AWAY}" defer></script>',
        f'<link rel="stylesheet" href="{AWAY}">',
        f'<link rel="preconnect" href="{AWAY}" crossorigin>',
        f'<link rel="icon" href="{AWAY}">',
        f'<link href="{AWAY}">',
        f'<img alt="" src="{AWAY}">',
        f'<img alt="" srcset="a.png 1x, {AWAY} 2x">',
        f'<iframe src="{AWAY}"></iframe>',
        f'<object data="{AWAY}"></object>',
        f"<style>@font-face {{ src: url({AWAY}) }}</style>",
        f'<p style="background: url({AWAY})">text</p>',
        '<script src="//cdn.example.org/x"></script>',
    ],
)
def test_a_load_from_another_host_is_found(tag: str) -> None:
    (found,) = loads_of_page(f"<!doctype html><html><body>{tag}</body></html>")
    assert "cdn.example.org/x" in found


def test_elements_for_which_the_theme_fetches_something_are_found() -> None:
    assert loads_of_page('<pre class="mermaid"><code>graph LR</code></pre>') == ["https://unpkg.com/ (mermaid)"]
    assert loads_of_page('<a class="md-source" href="#">code</a>') == ["https://api.github.com/ (md-source)"]


@pytest.mark.parametrize(
    "tag",
    [
        f'<a href="{AWAY}">link</a>',
        f'<link rel="canonical" href="{AWAY}">',
        '<link rel="stylesheet" href="../assets/site.css">',
        '<script src="/assets/bundle.js"></script>',
        f"<style>p {{ margin: 0 }}</style>url({AWAY})",
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    ],
)
def test_links_and_own_files_are_let_be(tag: str) -> None:
    assert loads_of_page(tag) == []


def test_pages_and_style_sheets_of_a_folder(tmp_path: Path) -> None:
    page, style = tmp_path / "a" / "index.html", tmp_path / "assets" / "site.css"
    for path in (page, style):
        path.parent.mkdir()
    page.write_text(f'<script src="{AWAY}"></script>', encoding="utf-8")
    style.write_text(
        f"@import '{AWAY}1'; @font-face {{ src: url(\"{AWAY}2\") }} p {{ background: url(../own.png) }}",
        encoding="utf-8",
    )
    assert foreign_loads(tmp_path) == [(page, AWAY), (style, f"{AWAY}1"), (style, f"{AWAY}2")]
