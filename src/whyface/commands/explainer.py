"""``whyface fit-explainer``: fit predicted Shapley values to a model, for the method ``amortised``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.option_blocks import NetworkOptions, takes_options
from whyface.commands.options import Attention
from whyface.errors import DataError, InputError

if TYPE_CHECKING:
    from whyface.faces.pictures import PictureSource
    from whyface.models.embedder import Batch


@takes_options
def fit_explainer(
    data: Annotated[Path, typer.Option(help="Folder or tar file of aligned pictures, one subfolder for each person.")],
    out: Annotated[Path, typer.Option(help="The file, .safetensors.")],
    options: NetworkOptions,
    pairs: Annotated[int, typer.Option(min=10, help="Training pairs, half of them of one person.")] = 400,
    coalitions: Annotated[int, typer.Option(min=2, help="Masked faces for each pair.")] = 16,
    check: Annotated[int, typer.Option(min=0, help="Pairs of other people on which KernelSHAP is compared.")] = 10,
    trials: Annotated[int, typer.Option(min=34, help="Masked faces for each KernelSHAP value of the check.")] = 256,
    attention: Annotated[
        Attention | None, typer.Option(help="u, p or l; the model's default if not given.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
) -> None:
    """Fit Shapley values predicted from features to a model: masked faces of training people, no gradients."""
    import numpy as np  # noqa: PLC0415 - start fast

    from whyface.explain.amortised import fit_predictor, masked_scores, save_predictor  # noqa: PLC0415
    from whyface.explain.kernelshap import KernelShapMethod  # noqa: PLC0415
    from whyface.faces.pictures import open_pictures  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    opened = options.open(attention)
    comparison = opened.comparison()
    with open_pictures(data) as source, progress_bar("reading pictures"):
        drawn = _draw(source.names(), data, pairs, check, seed)
        (first, second), (held_a, held_b) = (_read(source, part) for part in drawn)
    with progress_bar("masked faces") as progress:
        found = masked_scores(comparison, first, second, coalitions=coalitions, seed=seed, progress=progress)
    with progress_bar("fitting"):
        predictor = fit_predictor(found)
    record = {"model": opened.name, "sha256": comparison.sha256, "pairs": str(pairs), "coalitions": str(coalitions)}
    if len(held_a):
        method = KernelShapMethod(comparison.embedder, comparison=comparison, trials=trials, seed=seed)
        with progress_bar("KernelSHAP") as progress:
            true, total = [], []
            for row in range(len(held_a)):
                (details,) = method.maps(held_a[row : row + 1], held_b[row : row + 1]).details
                true.append(list(details["a"]["values"].values()))
                total.append(sum(true[-1]))
                progress(row + 1, len(held_a))
        values = predictor(comparison.features(held_a), comparison.features(held_b), total=np.array(total))
        expected = np.array(true)
        usual = expected.mean(axis=0)
        record["r2"] = f"{1 - ((values - expected) ** 2).sum() / ((expected - expected.mean()) ** 2).sum():.4f}"
        record["r2 over the mean of each region"] = (
            f"{1 - ((values - expected) ** 2).sum() / ((expected - usual) ** 2).sum():.4f}"
        )
        typer.echo(
            f"R2 with KernelSHAP on {len(held_a)} pairs of other people: {record['r2']}; beyond each region's mean: "
            f"{record['r2 over the mean of each region']}"
        )
    save_predictor(out, predictor, record)
    typer.echo(f"Written to {out}; use it with: whyface explain ... --method amortised:explainer={out}")


def _draw(
    names: tuple[str, ...], data: Path, pairs: int, check: int, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Draw training pairs and pairs of other people, in turn of one person and of two."""
    import numpy as np  # noqa: PLC0415 - start fast

    people = defaultdict(list)
    for name in sorted(names):
        people[PurePosixPath(name).parent.name].append(name)
    several = [person for person, mine in people.items() if len(mine) >= 2 and person]
    if len(several) < 10:
        raise DataError(f"{data}: {len(several)} people with two pictures or more, but at least 10 are needed")
    rng = np.random.default_rng(seed)
    order = rng.permutation(several).tolist()
    cut = max(2, len(order) // 5)

    def draw(chosen: list[str], count: int) -> list[tuple[str, str]]:
        found = []
        for number in range(count):
            one, other = rng.permutation(chosen)[:2].tolist()
            if number % 2:
                found.append((str(rng.choice(people[one])), str(rng.choice(people[other]))))
            else:
                a, b = rng.permutation(people[one])[:2].tolist()
                found.append((a, b))
        return found

    return draw(order[cut:], pairs), draw(order[:cut], check)


def _read(source: PictureSource, pairs: list[tuple[str, str]]) -> tuple[Batch, Batch]:
    import numpy as np  # noqa: PLC0415 - start fast

    if not pairs:
        return (np.empty((0, 3, 112, 112), np.uint8),) * 2
    sides = zip(*pairs, strict=True)
    one, other = (np.stack([source.read(name).transpose(2, 0, 1) for name in side]) for side in sides)
    if one.shape[1:] != (3, 112, 112):
        raise InputError(f"pictures must be aligned, 112 x 112, got {one.shape[3]} x {one.shape[2]}")
    return np.ascontiguousarray(one), np.ascontiguousarray(other)
