"""Make the page of the command line from the commands themselves when the site is built."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File, Files
from typer.main import get_command

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT: Final = Path(__file__).resolve().parents[2]
ADDRESS: Final = "reference/command-line.md"
WIDTH: Final = 88
HEAD: Final = """\
# Command line

Every command prints this text with `--help`. Exit status: 0 match or done, 1 no match, 2 bad input, with one line on
stderr that says what was wrong.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    # This tree's commands, whatever version is installed.
    sys.path.insert(0, str(ROOT / "src"))
    command = get_command(import_module("whyface.cli").app)
    files.append(File.generated(config, ADDRESS, content="\n".join([HEAD, *sections(command, "whyface", 2)])))
    return files


def sections(command: Any, name: str, level: int) -> list[str]:
    """Write the help of a command and of the commands in it, each under a heading of its own."""
    context = command.context_class(command, info_name=name, max_content_width=WIDTH, terminal_width=WIDTH)
    lines = [f"{'#' * level} {name}", "", "```text", command.get_help(context).strip(), "```", ""]
    for inner, found in getattr(command, "commands", {}).items():
        lines += sections(found, f"{name} {inner}", level + (name != "whyface"))
    return lines
