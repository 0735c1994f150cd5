"""Write a report as a file: HTML as it is, PDF by a Chromium that prints it.

The page draws itself with its script, which only a browser runs. WeasyPrint prints static HTML; see the measurement in
docs/how-to/reports.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from whyface.errors import OutputError
from whyface.files.integrity import write_atomic

BROWSER_VARIABLE: Final = "WHYFACE_BROWSER"
"""The environment variable that names the browser's program."""

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_ENDINGS: Final = (".html", ".htm", ".pdf")
_SECONDS: Final = 120


def check_report_path(path: Path | str) -> None:
    """Check before the work that a report can be written: its ending, and for a PDF the browser.

    Raise OutputError if it cannot.
    """
    target = Path(path)
    if target.suffix.lower() not in _ENDINGS:
        raise OutputError(f"{target}: a report is .html or .pdf; choose one of them")
    if target.suffix.lower() == ".pdf":
        find_browser()


def save_report(report: str, path: Path | str) -> None:
    """Write a report, by the ending of the path. Raise OutputError if that is not possible."""
    target = Path(path)
    check_report_path(target)
    write_atomic(target, print_pdf(report) if target.suffix.lower() == ".pdf" else report.encode())


def find_browser() -> str:
    """Return the path of a Chromium. Raise OutputError, which says what to do, if there is none."""
    named = os.environ.get(BROWSER_VARIABLE)
    for name in (named,) if named else _BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise OutputError(
        f"{named}: no such program; correct {BROWSER_VARIABLE}"
        if named
        else f"a PDF needs Chromium or Chrome: install one, or name its program in {BROWSER_VARIABLE}, or write .html"
    )


def print_pdf(report: str) -> bytes:
    """Print a report on A4. Raise OutputError if the browser does not manage it."""
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="whyface-") as folder:
        page, result = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(report, encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={result}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium's own sandbox does not start as root; the page is ours, and its policy lets nothing in.
            command.append("--no-sandbox")
        try:
            subprocess.run([*command, page.as_uri()], capture_output=True, timeout=_SECONDS, check=True)
            return result.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise OutputError(f"{browser} did not print the report ({type(error).__name__}); write .html") from error
