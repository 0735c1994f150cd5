"""The page at ``/`` where no web page is served: what the service can do, without anything from outside."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font-family:ui-monospace,monospace}pre{overflow-x:auto;padding:.75rem;border:1px solid #8888}"
    "td{padding:.3rem 1rem .3rem 0;vertical-align:top}table{border-collapse:collapse}"
)


def landing_page(openapi: dict[str, Any]) -> str:
    """Return the page, from the OpenAPI document."""
    rows = "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(about.get('description', ''))}</td></tr>"
        for path, methods in openapi["paths"].items()
        for method, about in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>whyface</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>whyface {escape(openapi['info']['version'])}</h1>"
        "<p>Do two photos show the same person, and why? Send photos as multipart or as base64 in JSON; they are "
        "neither stored nor logged.</p>"
        "<pre>curl -F photo_a=@one.jpg -F photo_b=@other.jpg http://127.0.0.1:8000/verify</pre>"
        f"<table><caption>Routes</caption>{rows}</table>"
        '<p><a href="openapi.json">OpenAPI document</a></p></body></html>'
    )
