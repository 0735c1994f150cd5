"""The commands that the documents name exist, take these options and values, and understand these methods."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from whyface.cli import app
from whyface.errors import InputError, WhyfaceError
from whyface.explain.registry import parse_specs
from whyface.train.config import preset_text

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"])
INLINE = re.compile(r"`(whyface(?: [^`]+)?)`")
BLOCK = re.compile(r"^(?: {4}|\$ )(whyface (?:.*\\\n)*.*)$", re.MULTILINE)
STUDY = re.compile(r"python -m (studies[\w.]*\w)")
LEFT_OUT = "..."
ROOT_COMMAND = get_command(app)


def commands_of(text: str) -> list[str]:
    """List the commands of a document: in its sentences and on lines of their own, without comments."""
    return [" ".join(found.replace("\\\n", " ").split()) for found in [*INLINE.findall(text), *BLOCK.findall(text)]]


def words_of(line: str) -> list[str]:
    """Split one command as a shell does, up to a comment or the next command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word and set(word) <= set(";|&>"):
            break
        words.append(word)
    return words[1:]


def chosen(words: list[str]) -> tuple[Any, list[str]]:
    """Find the command that is named, and what is left of the words."""
    command: Any = ROOT_COMMAND
    while words and getattr(command, "commands", None) is not None:
        if words[0] not in command.commands:
            if "pair" not in command.commands:
                break
            words = ["pair", *words]
        command, words = command.commands[words[0]], words[1:]
    return command, words


def check(words: list[str]) -> None:
    """Read the words as the program does; raise its errors."""
    command, words = chosen(words)
    if not words:
        return
    context = command.context_class(command, info_name=command.name)
    given = [word for word in words if word != LEFT_OUT]
    values, _, _ = command.make_parser(context).parse_args(list(given))
    if getattr(command, "commands", None) is not None and not words[0].startswith("-"):
        raise InputError(f"there is no command {words[0]!r}")
    if len(given) == len(words):
        command.make_context(command.name, list(words))
    methods = values.get("method") or []
    for spec in [methods] if isinstance(methods, str) else methods:
        parse_specs(spec)
    if isinstance(preset := values.get("print_config"), str):
        preset_text(preset)


def complaint(line: str) -> str:
    """Return what is wrong with a command, or nothing."""
    try:
        check(words_of(line))
    except typer.Exit:  # an option such as --list ends the program before anything else is read
        return ""
    except WhyfaceError as error:
        return f"{line}: {error}"
    except Exception as error:
        # Typer's usage errors come from different libraries, but all have their message here.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        # A sentence may name a command and an option without the photos.
        return "" if type(error).__name__ == "MissingParameter" else f"{line}: {message()}"
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_a_document(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [found for line in commands_of(text) if (found := complaint(line))] == []
    assert [name for name in STUDY.findall(text) if find_spec(name) is None] == []


def test_the_check_knows_what_is_not_there() -> None:
    text = "Ask `whyface verify a b --fmr 1e-3`.\n\n    whyface words \\\n        a b   # why\n"
    assert commands_of(text) == ["whyface verify a b --fmr 1e-3", "whyface words a b # why"]
    assert complaint("whyface words a b # why") == ""
    assert complaint("whyface patch replace set out.json --method xssab; whyface nothing") == ""
    assert complaint("whyface evaluate ... --examples 3") == ""
    for wrong in (
        "whyface verity a b",
        "whyface patch undo x",
        "whyface verify a b --frm 1e-3",
        "whyface evaluate ... --exampels 3",
        "whyface mask a b --accessory hat",
        "whyface explain a b -m xssabb",
        "whyface explain a b -m xssab:knd=positive",
        "whyface train --print-config papers",
        "whyface verify a b c",
    ):
        assert complaint(wrong), wrong
