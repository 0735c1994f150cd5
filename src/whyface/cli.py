"""The command line: parse, call, print.

Exit status: 0 match (or done), 1 no match, 2 bad input, with one line on stderr.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Annotated

import typer

from whyface import __version__
from whyface.commands.album import app as album
from whyface.commands.album import cluster
from whyface.commands.audit import audit
from whyface.commands.batch import batch
from whyface.commands.benchmark import benchmark, leaderboard
from whyface.commands.check import check
from whyface.commands.evaluate import evaluate
from whyface.commands.explain import explain
from whyface.commands.explainer import fit_explainer
from whyface.commands.faces import analyse, detect, find, represent
from whyface.commands.gallery import app as gallery
from whyface.commands.gallery_sync import sync
from whyface.commands.identify import identify
from whyface.commands.mask import mask
from whyface.commands.page import page
from whyface.commands.patch import app as patch
from whyface.commands.serve import serve
from whyface.commands.suite import test
from whyface.commands.train import export, import_, train
from whyface.commands.uncertainty import uncertainty
from whyface.commands.verify import demo, models, verify
from whyface.commands.watch import watch
from whyface.commands.words import app as words
from whyface.errors import WhyfaceError

app = typer.Typer(
    name="whyface",
    help="Explainable face verification: is it the same person, and why does the model say so?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BAD_INPUT = 2


def _version(value: bool) -> None:
    if value:
        typer.echo(f"whyface {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(verify)
app.command()(check)
app.command()(demo)
app.command()(models)
app.command()(evaluate)
app.command()(audit)
app.command()(test)
app.command()(explain)
app.command()(detect)
app.command()(represent)
app.command()(analyse)
app.command()(find)
app.command()(cluster)
app.command()(identify)
app.command()(watch)
app.command()(train)
app.command()(export)
app.command("import")(import_)
app.command()(benchmark)
app.command()(leaderboard)
app.command("fit-explainer")(fit_explainer)
app.command()(batch)
app.command()(uncertainty)
app.command()(mask)
app.command()(page)
app.command()(serve)
gallery.command()(sync)
app.add_typer(album, name="album")
app.add_typer(gallery, name="gallery")
app.add_typer(patch, name="patch")
app.add_typer(words, name="words")


def main() -> None:
    """Run the command line; errors that a user can cause end with one line on stderr and status 2."""
    if not sys.warnoptions:
        # Hide warnings of other packages, e.g. about odd metadata of a photo; python -W default shows them. Only the
        # program may do this, not the library: warning filters are shared by all threads.
        warnings.simplefilter("ignore")
    try:
        status = app(standalone_mode=False)
    except WhyfaceError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader of our output is gone; without this, Python would complain again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _fail(f"{error.filename}: the name is too long for this system; check the path")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # Typer's usage errors come from different libraries, but all have their message here.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        _fail(message() or "see whyface --help")
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    # Typer's own messages repeat an argument in full.
    print(f"whyface: {' '.join(str(WhyfaceError(message)).split())}", file=sys.stderr)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
