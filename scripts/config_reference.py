"""Write the table of all configuration keys into docs/reference/configuration.md.

    python scripts/config_reference.py

A test fails if the table and the schema differ.
"""

from __future__ import annotations

from pathlib import Path

from config_table import END, START, reference_table


def main() -> None:
    """Replace the table."""
    path = Path(__file__).resolve().parents[1] / "docs" / "reference" / "configuration.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text.split(START)[0]}{START}\n{reference_table()}\n{END}{text.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
