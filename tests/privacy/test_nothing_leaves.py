"""Commands write where they are told to and nowhere else, and neither open a socket nor look up a name.

Every command runs in a process of its own whose folders for home, caches and temporary files are empty. Three watchers
look on at once, the strongest that there are: strace sees every system call; where it is missing, a shim that is loaded
before all libraries sees what they ask of the C library; Python's audit hooks see what Python asks, always.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import whyface
from helpers.gallery_models import TinyGrids, faces
from whyface.demo import demo_photo
from whyface.gallery.gallery import Gallery

SHIM = Path(__file__).parent / "network_shim.c"
COMMANDS = {
    "verify": "verify people/ann/1.jpg people/bob/1.jpg",
    "verify, figure": "verify people/ann/1.jpg people/bob/1.jpg --figure out/figure.png",
    "explain": "explain people/ann/1.jpg people/bob/1.jpg --method xcos --figure out/figure.png",
    "words": "words people/ann/1.jpg people/bob/1.jpg -a Smiling --draws 19 --figure out/figure.png",
    "enroll": "gallery enroll out/gallery people",
    "batch": "batch people/pairs.csv --out out/results.parquet",
}
CALLS = (
    "%network,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,truncate"
)
FILES = ("open", "creat", "mkdir", "rename", "link", "symlink", "truncate")
WRITES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE|O_TRUNC")
# The first path that a call names is what it makes or changes; the second is a rename's or a link's target.
PATHS = re.compile(r'"((?:[^"\\]|\\.)*)"')
AUDIT = """
import os, sys

def watch(event, arguments, forbidden=("socket.", "urllib.", "http.client.", "ftplib.", "smtplib.")):
    # The machine's name, part of the names of TensorBoard's files, is known without asking anybody.
    if event.startswith(forbidden) and event != "socket.gethostname":
        with open(os.environ["WATCHED"], "a") as report:
            report.write(f"{event} {arguments}\\n")

sys.addaudithook(watch)
from whyface.cli import main
try:
    main()
finally:
    for name in sorted({"huggingface_hub", "transformers", "requests", "urllib3"} & set(sys.modules)):
        watch("socket.", f"{name} was imported")
"""


@dataclass(frozen=True)
class Place:
    """Folders for one run: inputs and the folder for outputs lie in ``work``, the others must stay empty."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def environment(self) -> dict[str, str]:
        home = {name: str(self.root / name.lower()) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        return {
            **home,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(whyface.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WATCHED": str(self.root / "watched"),
        }

    def run(
        self, arguments: list[str], before: list[str] | None = None, *, says: bool = False, **variables: str
    ) -> None:
        """Run Python with these arguments; the status is that of a verdict, and nothing is left outside ``out``."""
        command = [*(before or ()), sys.executable, *arguments]
        environment = {**self.environment, **variables}
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        assert says or done.stderr == ""

    def files(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*")}

    def watched(self) -> list[str]:
        report = self.root / "watched"
        return report.read_text().splitlines() if report.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "place")
    for name in ("home", "tmpdir", "xdg_cache_home", "xdg_config_home", "work/out", "work/people"):
        (place.root / name).mkdir(parents=True)
    people = place.work / "people"
    for person, photo in (("ann", "obama-portrait.jpg"), ("bob", "biden-portrait.jpg")):
        (people / person).mkdir()
        shutil.copy(demo_photo(photo), people / person / "1.jpg")
    (people / "pairs.csv").write_text("a,b\nann/1.jpg,bob/1.jpg\n")
    return place


def outside(place: Place, before: set[str]) -> set[str]:
    """Name what has appeared or gone anywhere but in the folder that was asked for."""
    return {name for name in place.files() ^ before if not name.startswith("work/out/") and name != "watched"}


def can_trace() -> bool:
    found = shutil.which("strace")
    return found is not None and not subprocess.run([found, "true"], capture_output=True, check=False).returncode


@pytest.fixture
def strace() -> str:
    if not can_trace():
        pytest.skip("strace is not there or may not trace; apt-get install strace")
    return "strace"


def traced(place: Place, strace: str, arguments: list[str]) -> list[str]:
    """Run Python under strace; return the calls that open sockets or change files, without those that failed."""
    log = place.root.parent / "calls"
    place.run(arguments, [strace, "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log)])
    lines = [line.split(maxsplit=1)[1] for line in log.read_text(errors="replace").splitlines()]
    return [line for line in lines if " = -1 " not in line and not line.startswith(("---", "+++"))]


def changes(calls: list[str], work: Path) -> set[Path]:
    """Give the paths of files and folders that calls make or open for writing."""
    found = set()
    for call in calls:
        if call.startswith("open") and not WRITES.search(call):
            continue
        found |= {Path(os.path.normpath(work / path)) for path in PATHS.findall(call)}
    return found


def test_strace_sees_sockets_and_files(place: Place, strace: str) -> None:
    code = (
        "import os, socket\nopen('made', 'w').close()\nos.rename('made', 'renamed')\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n"
    )
    calls = traced(place, strace, ["-c", code])
    assert any(call.startswith("socket(AF_INET") for call in calls)
    assert any(call.startswith("connect(") for call in calls)
    files = [call for call in calls if call.startswith(("open", "rename"))]
    assert {place.work / "made", place.work / "renamed"} <= changes(files, place.work)


def has_compiler() -> bool:
    return bool(shutil.which("cc") or shutil.which("gcc")) and sys.platform.startswith("linux")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not has_compiler():
        pytest.skip("the shim needs Linux and a C compiler")
    compiler = shutil.which("cc") or "gcc"
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return str(library)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_opens_a_socket_or_writes_elsewhere(
    command: str, place: Place, request: pytest.FixtureRequest
) -> None:
    """The same process is watched by all watchers that there are: it takes long to start."""
    words = COMMANDS[command].split()
    before = place.files()
    if can_trace():
        calls = traced(place, "strace", ["-c", AUDIT, *words])
        files = [call for call in calls if call.startswith(FILES)]
        assert [call for call in calls if call not in files] == []
        assert len(files) > 100
        allowed = [place.work / "out", Path("/dev")]
        if "--figure" in words:
            # matplotlib's list of fonts, for a moment.
            allowed.append(place.root / "tmpdir")
        assert {path for path in changes(files, place.work) if not any(map(path.is_relative_to, allowed))} == set()
        assert place.watched() == []
    elif has_compiler():
        place.run(["-c", AUDIT, *words], LD_PRELOAD=request.getfixturevalue("shim"))
        assert place.watched() == ["loaded"] * len(place.watched())
        assert place.watched()
    else:
        place.run(["-c", AUDIT, *words])
        assert place.watched() == []
    assert outside(place, before) == set()
    assert all((place.work / word).exists() for word in words if word.startswith("out/"))


def test_the_shim_sees_sockets_and_names(place: Place, shim: str) -> None:
    code = "import socket\nsocket.socket(socket.AF_INET)\nsocket.getaddrinfo('localhost', 9)\n"
    place.run(["-c", code], LD_PRELOAD=shim)
    assert {"socket 2", "getaddrinfo localhost"} <= set(place.watched())


def test_the_hook_sees_sockets(place: Place) -> None:
    code = AUDIT.replace("from whyface.cli import main", "import socket\ndef main(): socket.socket(socket.AF_INET)")
    place.run(["-c", code])
    assert [line.split()[0] for line in place.watched()] == ["socket.__new__"]


GALLERY_COMMANDS = {
    "faiss": "gallery index out/gallery",
    "lancedb": "gallery index out/gallery --database out/vectors",
    "cryptography": "gallery copy out/gallery out/sealed --new-key key",
    "sqlite3": "gallery remove out/gallery Ann",
}


@pytest.mark.slow
@pytest.mark.parametrize("library", GALLERY_COMMANDS)
def test_libraries_of_galleries_keep_to_themselves(library: str, place: Place) -> None:
    """What is erased from a table of names must not go through a temporary file elsewhere, either."""
    pytest.importorskip(library, reason=f"needs {library}")
    model = TinyGrids()
    with Gallery.create(place.work / "out" / "gallery", model) as gallery:
        gallery.add(model.embed(faces(40)), ["Ann", "Bob"] * 20, "s")
    (place.work / "key").write_text("12" * 32)
    before = place.files()
    command = GALLERY_COMMANDS[library].split()
    # LanceDB wakes its thread through a pair of sockets, and imports an HTTP client that tries whether there is IPv6.
    own = ("socket.__new__", "socket.bind", "socket. urllib3 was imported") if library == "lancedb" else ()
    place.run(["-c", AUDIT, *command])
    assert [line for line in place.watched() if not line.startswith(own)] == []
    assert outside(place, before) == set()
    if not can_trace():
        return
    again = [{"out/sealed": "out/other", "Ann": "Bob"}.get(word, word) for word in command]
    calls = traced(place, "strace", ["-m", "whyface", *again])
    network = [call for call in calls if not call.startswith(FILES)]
    assert bool(network) == bool(own)
    leaves = re.compile(r"connect\(|send\w*\(.*AF_INET" if own else "")
    assert [call for call in network if leaves.match(call)] == []
    allowed = (place.work / "out", Path("/dev"))
    files = [call for call in calls if call.startswith(FILES)]
    assert {path for path in changes(files, place.work) if not any(map(path.is_relative_to, allowed))} == set()


@pytest.mark.slow
def test_training_and_export_leave_nothing_behind(place: Place) -> None:
    """Torch, its exporter, Lightning Fabric and TensorBoard keep to themselves, too."""
    from helpers.face_folders import write_config, write_faces

    pytest.importorskip("lightning_fabric", reason="training needs the extra train")
    write_faces(place.work / "faces", dict.fromkeys(("ann", "bob", "cem", "dan", "eve"), 3))
    write_config(place.work / "run.yaml", place.work / "faces")
    before = place.files()
    place.run(["-c", AUDIT, "train", "run.yaml", "--out", "out/run"], says=True)
    place.run(["-c", AUDIT, "export", "out/run", "--out", "out/model"], says=True)
    assert place.watched() == []
    assert outside(place, before) == set()
    assert (place.work / "out" / "model" / "model.json").is_file()
