"""Make the pages of the API from the package's tree when the site is built, so that no module is named by hand.

Every package gets a page with its public names and modules, every module one with its docstrings. Commands are left
out: they are documented by their ``--help``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import griffe
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "whyface"
LEFT_OUT: Final = {"assets", "cli", "commands"}
ORDER: Final = ("faces", "models", "xcos", "explain", "words", "evaluate", "data", "gallery", "identify", "bench")
"""Packages in the order in which a reader needs them; others follow by name."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the API behind the reference in the navigation."""
    assert config.nav is not None
    place = 1 + next(index for index, item in enumerate(config.nav) if "Reference" in item)
    config.nav.insert(place, {"API": navigation(load())})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the changelog from the repository's root."""
    pages = pages_of(load())
    pages["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for address, text in pages.items():
        files.append(File.generated(config, address, content=text))
    return files


def load() -> griffe.Module:
    """Read the package without importing it."""
    found = griffe.load(
        PACKAGE,
        search_paths=[ROOT / "src"],
        extensions=griffe.load_extensions(Path(__file__).with_name("roles.py")),
        allow_inspection=False,
        resolve_aliases=True,
    )
    assert isinstance(found, griffe.Module)
    return found


def navigation(package: griffe.Module) -> list[Any]:
    """List a package's page, its modules and its packages, as in ``nav`` of mkdocs.yml."""
    inner = children(package)
    modules = [{module.name: address(module)} for module in inner if not is_package(module)]
    packages = [{module.name: navigation(module)} for module in inner if is_package(module)]
    return [address(package), *modules, *packages]


def pages_of(module: griffe.Module) -> dict[str, str]:
    """Write the pages of a module and of everything below it, by their addresses."""
    found = {address(module): package_page(module) if is_package(module) else module_page(module)}
    for child in children(module):
        found |= pages_of(child)
    return found


def children(package: griffe.Module) -> list[griffe.Module]:
    """List the documented modules of a package in reading order."""
    offered = (module for module in package.members.values() if isinstance(module, griffe.Module))
    found = [module for module in offered if not module.name.startswith("_") and module.name not in LEFT_OUT]
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(found, key=lambda module: (is_package(module), places.get(module.name, len(places)), module.name))


def is_package(module: griffe.Module) -> bool:
    """Tell a package from a module."""
    return bool(module.is_package or module.is_subpackage)


def address(module: griffe.Module) -> str:
    """Say where a module's page lies in the documentation."""
    parts = module.path.split(".")[1:]
    return "/".join(["api", *parts, "index.md"]) if is_package(module) else f"{'/'.join(['api', *parts])}.md"


def module_page(module: griffe.Module) -> str:
    """Write the page that mkdocstrings fills."""
    return f"# {module.path}\n\n::: {module.path}\n"


def package_page(package: griffe.Module) -> str:
    """Write a package's docstring, its public names and its modules with a line each."""
    lines = [f"# {package.path}", "", f"::: {package.path}", "    options: {members: false}", ""]
    names = sorted((name for name, member in package.members.items() if is_public(member)), key=str.lower)
    if names:
        lines += ["| name | |", "|---|---|"]
        targets = {name: package.members[name].final_target for name in names}
        lines += [f"| [`{name}`][{target.canonical_path}] | {summary(target)} |" for name, target in targets.items()]
    lines += ["", "| module | |", "|---|---|"]
    here = Path(address(package)).parent
    for module in children(package):
        link = Path(address(module)).relative_to(here).as_posix()
        lines.append(f"| [{module.path}]({link}) | {summary(module)} |")
    return "\n".join([*lines, ""])


def is_public(member: griffe.Object | griffe.Alias) -> bool:
    """Tell whether an imported name is one of this project, and no private one."""
    parts = member.target_path.split(".") if member.is_alias else [""]
    return parts[0] == PACKAGE and not any(part.startswith("_") for part in (member.name, *parts))


def summary(found: griffe.Object) -> str:
    """Take the first paragraph of a docstring as one line of a table."""
    text = found.docstring.value.split("\n\n")[0] if found.docstring else ""
    return " ".join(text.split()).replace("|", "\\|")
