"""Galleries as a release without checksums of names left them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_OLD_SCHEMA = """
CREATE TABLE faces (
    record INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    added TEXT NOT NULL,
    removed TEXT
);
CREATE INDEX faces_by_name ON faces (name);
CREATE INDEX faces_by_digest ON faces (digest);
CREATE INDEX faces_removed ON faces (record) WHERE removed IS NOT NULL;
"""


def make_old(gallery: Path) -> None:
    """Take the checksums out of a gallery's table of names."""
    path = gallery / "names.sqlite"
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT record, name, source, digest, added, removed FROM faces").fetchall()
    db.close()
    path.unlink()
    with sqlite3.connect(path) as db:
        db.executescript(_OLD_SCHEMA)
        db.executemany("INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.close()


def change(gallery: Path, *statements: str) -> None:
    """Change the table of names behind the gallery's back."""
    with sqlite3.connect(gallery / "names.sqlite") as db:
        for statement in statements:
            db.execute(statement)
    db.close()
