"""The page that compares photos in the browser: a static folder for any web server, with nothing to install on it.

The networks are those of the package; ONNX Runtime Web runs them. It does not come with whyface: the user names a copy,
of which every file is checked by its SHA-256. Nothing is fetched from elsewhere, neither here nor by the page.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from whyface import __version__
from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.explain.usual import LEVELS, find_usual
from whyface.files.integrity import check_folder, make_folder, write_atomic
from whyface.models.catalogue import DEFAULT_MODEL, model_entry
from whyface.models.entry import ModelEntry
from whyface.models.operating_point import DEFAULT_FMR
from whyface.models.preprocessing import RAW
from whyface.page.bundle import page_files
from whyface.page.report import report_shell

RUNTIME_VERSION: Final = "1.30.0"
RUNTIME_PACKAGE: Final = f"onnxruntime-web@{RUNTIME_VERSION}"
"""The package, by its name in the npm registry."""

RUNTIME_FILES: Final[Mapping[str, str]] = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""What the page needs of it -> SHA-256."""

_WHERE: Final = ("", "dist", "package/dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist")
_ADVICE: Final = f"run: npm pack {RUNTIME_PACKAGE}, and give the file that it writes"
_ASSETS: Final = {"detector": "detector/centerface.onnx", "quality": "quality/lightqnet-dm050.onnx"}
_KIND: Final = "l"
_OF_FILES: Final = ("report.js", "index_page.js")
"""Modules of self-contained files."""

_NOTICE: Final = f"""whyface {__version__} (Apache-2.0) with {{model}} ({{licence}}).
runtime/: ONNX Runtime Web {RUNTIME_VERSION}, Microsoft, MIT licence.
networks/centerface.onnx: CenterFace, MIT licence. networks/lightqnet-dm050.onnx: LightQNet, MIT licence.
"""


def write_site(out: Path | str, runtime: Path | str, *, model: str = DEFAULT_MODEL) -> list[Path]:
    """Write the page into a folder, and return the files.

    Parameters
    ----------
    out
        The folder; it is made, or must be empty.
    runtime
        ONNX Runtime Web: the folder of its files, a folder that holds it, or the archive that ``npm pack`` writes.
    model
        A known xCos model.

    Raises
    ------
    InputError
        If the runtime is not there.
    ModelError
        If the page cannot run the model.
    ModelIntegrityError
        If a file of the runtime is another version's.
    OutputError
        If the folder is not empty or cannot be written.
    """
    folder = Path(out)
    check_folder(folder, empty=True)
    written = []
    for name, data in site_files(runtime, model=model).items():
        path = folder / name
        make_folder(path.parent)
        write_atomic(path, data)
        written.append(path)
    return written


def site_files(runtime: Path | str, *, model: str = DEFAULT_MODEL) -> dict[str, bytes]:
    """Return the files of the page by their paths; raise as :func:`write_site`."""
    libraries = {f"runtime/{name}": data for name, data in read_runtime(runtime).items()}
    entry = model_entry(model)
    networks = _networks(entry)
    files = {f"networks/{path.name}": path.read_bytes() for path in networks.values()}
    settings = page_settings(entry, networks)
    own = {name: text.encode() for name, text in page_files().items() if name not in _OF_FILES}
    return {
        **own,
        "report-shell.html": report_shell().encode(),
        "model.json": json.dumps(settings, allow_nan=False).encode(),
        "NOTICE.txt": _NOTICE.format(model=entry.name, licence=entry.licence).encode(),
        **files,
        **libraries,
    }


def page_settings(entry: ModelEntry, networks: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the page must know of a model, as JSON values."""
    if entry.grid is None or entry.preprocessing != RAW:
        raise ModelError(f"{entry.name}: the page runs models with a grid and raw pixels; choose another")
    point = entry.operating_point(_KIND, fmr=DEFAULT_FMR)
    calibration = entry.confidence.get(_KIND)
    usual = find_usual(entry, entry.files["onnx"].sha256)
    quality = json.loads((_assets() / "quality" / "quality.json").read_text(encoding="utf-8"))
    hashes = {role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in networks.items()}
    return {
        "name": entry.name,
        "sha256": entry.files["onnx"].sha256,
        "files": {role: f"networks/{path.name}" for role, path in networks.items()},
        "record_files": [
            {"role": "embedder" if role == "onnx" else role, "name": path.name, "sha256": hashes[role]}
            for role, path in networks.items()
        ],
        "grid": entry.grid.shape[1:],
        "grid_tensor": entry.grid.tensor,
        "weighed": entry.grid.weighed,
        "operating_points": [one.to_dict() for one in entry.thresholds[_KIND]],
        "default_point": point.name,
        "dataset": point.dataset,
        "calibration": None if calibration is None else calibration.to_dict(),
        "calibration_source": None if calibration is None else calibration.describe(),
        "usual": None
        if usual is None
        else {
            "levels": LEVELS,
            "pairs": usual.pairs,
            "source": usual.source,
            **{name: getattr(usual, name).tolist() for name in ("strangers", "genuine", "slope", "middle")},
        },
        "quality": {name: quality[name] for name in ("components", "scale", "limit")},
        "versions": {"whyface": __version__, "onnxruntime-web": RUNTIME_VERSION},
    }


def read_runtime(place: Path | str) -> dict[str, bytes]:
    """Read the files of ONNX Runtime Web, each checked by its SHA-256; raise as :func:`write_site`."""
    found = _from_archive(Path(place)) if Path(place).is_file() else _from_folder(Path(place))
    for name, data in found.items():
        if hashlib.sha256(data).hexdigest() != RUNTIME_FILES[name]:
            raise ModelIntegrityError(f"{place}: {name} is not that of {RUNTIME_PACKAGE}; {_ADVICE}")
    return found


def _from_folder(place: Path) -> dict[str, bytes]:
    for inner in _WHERE:
        paths = [place / inner / name for name in RUNTIME_FILES]
        if all(path.is_file() for path in paths):
            return {path.name: path.read_bytes() for path in paths}
    raise InputError(f"{place}: ONNX Runtime Web is not there; {_ADVICE}")


def _from_archive(place: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(place) as archive:
            files = [archive.extractfile(f"package/dist/{name}") for name in RUNTIME_FILES]
            return {name: b"" if file is None else file.read() for name, file in zip(RUNTIME_FILES, files, strict=True)}
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise InputError(f"{place}: not an archive of {RUNTIME_PACKAGE}; {_ADVICE}") from error


def _networks(entry: ModelEntry) -> dict[str, Path]:
    if entry.kind != "xcos" or entry.grid is None or not (entry.grid.weighed or "pair" in entry.files):
        raise ModelError(f"{entry.name}: the page shows xCos models with learned attention; choose another")
    own = {role: entry.locate(role) for role in ("onnx", "pair") if role in entry.files}
    return {**own, **{role: _assets() / name for role, name in _ASSETS.items()}}


def _assets() -> Path:
    return Path(str(resources.files("whyface"))) / "assets"
