"""``whyface words compare``: words beside other methods, all erasing the same pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.commands.options import Aligned, Eraser
from whyface.errors import InputError, WhyfaceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from whyface.data.protocols import PairProtocol
    from whyface.explain.pair_method import PairMethod
    from whyface.verification import Verifier
    from whyface.words.word_report import WordSettings

SCHEMA = "whyface/word-comparison/1"
Erased = dict[str, "NDArray[np.float32]"]
"""Scores of two people, (N, 2), by what was erased; NaN for a face without a word."""
_CHUNK = 20


@takes_options
def compare(
    pairs: Annotated[
        Path,
        typer.Argument(help="Pair list: two photos and 1 (one person) or 0 (two) in each line.", show_default=False),
    ],
    options: ModelOptions,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the photos, if not the list's.", show_default=False)
    ] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="Methods to compare words with, as for whyface explain.")
    ] = "xcos,ebp,xssab",
    triplet: Annotated[
        str,
        typer.Option(help="Methods whose triplet is compared, too: a face is its own mate."),
    ] = "ebp:truncate=0.2",
    share: Annotated[float, typer.Option(min=0.001, max=0.9, help="Share of a face that every method erases.")] = 0.05,
    erase_above: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Instead, as published: erase where a map, 0 to 1, is above this.",
            show_default=False,
        ),
    ] = None,
    eraser: Annotated[Eraser, typer.Option(help="What replaces erased pixels.")] = Eraser.BLACK,
    specific: Annotated[
        bool,
        typer.Option(help="Also erase what is said of another pair: what is gained beyond this is the pair's own."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    aligned: Aligned = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
) -> None:
    """Erase what sets two people apart by words and by other methods, and print Sim2Word's AUC for each."""
    from whyface.data.pair_lists import read_pair_list  # noqa: PLC0415 - start fast
    from whyface.words.word_report import WordSettings  # noqa: PLC0415

    protocol = read_pair_list(pairs, folds=1)
    _check_kinds(pairs, protocol.genuine)
    verifier = options.verifier()
    methods = _methods(verifier, method, triplet, options.model_dir, seed)
    settings = WordSettings(eraser=eraser.value, seed=seed)
    plain, genuine, erased, elsewhere, left_out = _erase(
        verifier,
        settings,
        methods,
        pairs,
        protocol,
        data,
        aligned=aligned,
        share=share,
        above=erase_above,
        specific=specific,
    )
    for reason in left_out:
        typer.echo(f"Left out: {reason}", err=True)
    rows = _table(plain, genuine, erased, elsewhere)
    if as_json:
        document = {
            "schema": SCHEMA,
            "model": verifier.method.comparison.name,
            "pairs": {"one person": int(genuine.sum()), "two people": int((~genuine).sum())},
            "erased": {"share": share} if erase_above is None else {"above": erase_above},
            "eraser": eraser.value,
            "methods": rows,
        }
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    people = f"{len(genuine)} pairs, {int(genuine.sum())} of one person"
    typer.echo(f"{people}. A lower AUC: what was erased sets two people apart.")
    width = max(map(len, rows))
    own = "  of this pair alone" if specific else ""
    typer.echo(f"{'erased by':{width}}  AUC      similarity of two people    {own}")
    for name, row in rows.items():
        change = f"{row['similarity']:+.4f} ({row['change']:+.4f} ± {row['change_error']:.4f})"
        said = f"  {row['specific']:+.4f} ± {row['specific_error']:.4f}" if "specific" in row else ""
        typer.echo(f"{name:{width}}  {row['auc']:.5f}  {change}{said}")


def _methods(verifier: Verifier, plain: str, triplet: str, directory: Path | None, seed: int) -> dict[str, PairMethod]:
    from whyface.explain.methods import open_method  # noqa: PLC0415
    from whyface.explain.registry import parse_specs  # noqa: PLC0415
    from whyface.explain.triplet import OwnTriplet, as_pair_method  # noqa: PLC0415 - start fast

    found: dict[str, PairMethod] = {}
    for given, is_triplet in ((plain, False), (triplet, True)):
        for spec, name, chosen in parse_specs(given) if given.strip() else ():
            opened = open_method(name, verifier.method, directory=directory, seed=seed, **chosen)
            one = as_pair_method(opened)
            found[f"{spec}, triplet" if is_triplet else spec] = OwnTriplet(one) if is_triplet else one
    return found


def _erase(
    verifier: Verifier,
    settings: WordSettings,
    methods: dict[str, PairMethod],
    pairs: Path,
    protocol: PairProtocol,
    data: Path | None,
    *,
    aligned: bool,
    share: float,
    above: float | None,
    specific: bool,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Erased, Erased, list[str]]:
    """Return scores and labels of all pairs, and what was left out.

    Between scores and what was left out: the scores of two people by what was erased, as it was said of the pair, and,
    if asked for, of another pair.
    """
    import numpy as np  # noqa: PLC0415

    from whyface.commands.word_batch import load_pair_face  # noqa: PLC0415
    from whyface.faces.face import stack_faces  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.words.method_comparison import compare_methods, read_side, signed_maps  # noqa: PLC0415
    from whyface.words.word_explainer import open_words  # noqa: PLC0415 - start fast

    folder = pairs.parent if data is None else data
    explainer = open_words(verifier, settings=settings)
    faces, left_out = [], []
    for number, ends in enumerate(zip(protocol.left, protocol.right, strict=True)):
        try:
            both = [load_pair_face(verifier, str(folder / protocol.pictures[end]), aligned) for end in ends]
        except WhyfaceError as error:
            left_out.append(str(error))
            continue
        faces.append((number, both))
    numbers = np.array([number for number, _ in faces], np.intp)
    genuine = protocol.genuine[numbers]
    _check_kinds(pairs, genuine)
    plain: list[NDArray[np.float32]] = []
    parts: dict[bool, list[Erased]] = {False: [], True: []}
    with progress_bar("erasing") as progress:
        for start in range(0, len(faces), _CHUNK):
            part = [both for _, both in faces[start : start + _CHUNK]]
            rows = slice(start, start + len(part))
            sides = [read_side(explainer, stack_faces([both[side] for both in part])) for side in (0, 1)]
            plain.append(explainer.comparison.scores(sides[0].features, sides[1].features))
            other = np.flatnonzero(~genuine[rows])
            if len(other):
                one, two = (side.rows(other) for side in sides)
                maps = signed_maps(methods, (one, two), genuine[rows][other])
                for elsewhere in (False, True) if specific else (False,):
                    found = compare_methods(
                        explainer,
                        methods,
                        (one, two),
                        numbers[rows][other],
                        genuine[rows][other],
                        shares=(share,),
                        above=above,
                        elsewhere=elsewhere,
                        maps=maps,
                        seed=settings.seed,
                    )
                    parts[elsewhere].append(found)
            progress(start + len(part), len(faces))
    erased, elsewhere_too = (
        {name: np.concatenate([part[name][..., 0] for part in some]) for name in parts[False][0]} if some else {}
        for some in parts.values()
    )
    return np.concatenate(plain), genuine, erased, elsewhere_too, left_out


def _check_kinds(pairs: Path, genuine: NDArray[np.bool_]) -> None:
    if not genuine.any() or genuine.all():
        raise InputError(f"{pairs}: an AUC needs pairs of one person and of two that can be used; give both kinds")


def _table(
    plain: NDArray[np.float32], genuine: NDArray[np.bool_], erased: Erased, elsewhere: Erased
) -> dict[str, dict[str, float]]:
    """Return AUC, mean similarity of two people and its change: pairs of one person count twice, as they are.

    ``specific`` is the change less that by what was said of another pair. Errors are standard errors over pairs.
    """
    import numpy as np  # noqa: PLC0415

    from whyface.evaluate.rates import auc  # noqa: PLC0415 - start fast

    same, before = np.repeat(plain[genuine], 2), np.repeat(plain[~genuine, None], 2, axis=1)
    rows = {}
    for name, given in {"nothing": before, **erased}.items():
        # A face without a word keeps its similarity.
        after = np.where(np.isnan(given), before, given)
        labels = np.repeat([True, False], [len(same), after.size])
        rows[name] = {
            "auc": float(auc(np.concatenate([same, after.ravel()]), labels)),
            "similarity": float(after.mean()),
            **_mean_of("change", after - before),
        }
        # Random places are as good for any pair.
        if name in elsewhere and not name.startswith("random"):
            # The last pair of a list may have no other pair beside it.
            some = np.isfinite(elsewhere["random"]).all(axis=1)
            there = np.where(np.isnan(elsewhere[name]), before, elsewhere[name])
            rows[name] |= _mean_of("specific", (after - there)[some])
    return rows


def _mean_of(name: str, values: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return the mean of values (N, 2), and its standard error over the pairs."""
    import numpy as np  # noqa: PLC0415 - start fast

    if not len(values):
        return {}
    each = values.mean(axis=1, dtype=np.float64)
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else 0.0
    return {name: float(each.mean()), f"{name}_error": error}
