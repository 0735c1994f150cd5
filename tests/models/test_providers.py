"""Where a network runs: by device or execution provider, never silently elsewhere. No test needs a card."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.command_line import assert_refused, run_whyface
from helpers.tiny_networks import flat_faces, write_face_network, write_tiny
from whyface import OnnxEmbedder, Verifier, onnx_runtime
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.faces import load
from whyface.onnx_runtime import CPU, as_providers
from whyface.xcos.open_model import open_model

CUDA = "CUDAExecutionProvider"
PHOTOS = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")]


class Runtime:
    """An ONNX Runtime that says which providers it has and which of them start."""

    def __init__(self, there: tuple[str, ...], started: tuple[str, ...]) -> None:
        self.there, self.started = there, started
        self.asked: list[list[str]] = []
        self.real = onnx_runtime.onnx_runtime()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def get_available_providers(self) -> list[str]:
        return list(self.there)

    def InferenceSession(  # noqa: N802 - as the library
        self, model: bytes, options: Any, providers: list[str], **others: Any
    ) -> Any:
        self.asked.append(providers)
        real = self.real.InferenceSession(model, options, providers=list(CPU), **others)
        return SimpleNamespace(
            get_providers=lambda: [one for one in providers if one in self.started],
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            run=real.run,
        )


def pretend(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], started: tuple[str, ...]) -> Runtime:
    runtime = Runtime(there, started)
    monkeypatch.setattr(onnx_runtime, "onnx_runtime", lambda part="": runtime)
    return runtime


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_providers("cpu") == as_providers("CPU") == as_providers(CPU) == CPU
    pretend(monkeypatch, (CUDA, "TensorrtExecutionProvider", *CPU), ())
    assert as_providers("cuda") == as_providers(f"{CUDA}, cpu") == as_providers(["cuda"]) == (CUDA, *CPU)
    assert as_providers("TensorrtExecutionProvider,cuda") == ("TensorrtExecutionProvider", CUDA, *CPU)


@pytest.mark.parametrize("device", ["cuda", CUDA, "tpu", "", ["cpu", "ROCMExecutionProvider"]])
def test_a_provider_that_is_missing(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, CPU, CPU)
    with pytest.raises(InputError, match=r"has no .*, but CPUExecutionProvider; .*pip install 'whyface\[gpu\]'"):
        as_providers(device)


def test_the_installed_library_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if CUDA in onnx_runtime.onnx_runtime().get_available_providers():
        pytest.skip("this ONNX Runtime knows CUDA")
    (tmp_path / "p.csv").write_text("a,b\nx.png,y.png\n")
    batch = ("batch", str(tmp_path / "p.csv"), "--out", str(tmp_path / "r.csv"))
    gallery, person = str(tmp_path / "g"), tmp_path / "people" / "Somebody"
    person.mkdir(parents=True)
    shutil.copy(PHOTOS[1], person)
    run_whyface(monkeypatch, capsys, "gallery", "enroll", gallery, str(person.parent))
    searches = (
        ("identify", PHOTOS[0], "--gallery", gallery),
        ("gallery", "search", gallery, PHOTOS[0]),
        ("gallery", "add", gallery, "Somebody", PHOTOS[0]),
    )
    for command in (("verify", *PHOTOS), ("explain", *PHOTOS), ("words", *PHOTOS), batch, *searches):
        for option in ("--device", "--providers"):
            assert_refused(monkeypatch, capsys, f"has no {CUDA}", *command, option, "cuda")
    with pytest.raises(InputError, match="has no"):
        Verifier(providers="cuda")


def test_the_network_gets_the_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pretend(monkeypatch, (CUDA, *CPU), (CUDA, *CPU))
    load._kept_detector.cache_clear()
    network = write_face_network(tmp_path / "net.onnx")
    Verifier(network, threshold=0.5, providers="cuda")(*PHOTOS)
    # The detector stays on the processor.
    assert [CUDA, *CPU] in runtime.asked and list(CPU) in runtime.asked
    runtime.asked.clear()
    open_model("xcos-mobilefacenet", providers="cuda").comparison().features(flat_faces((1, 2, 3)))
    assert runtime.asked == [[CUDA, *CPU]]


def test_a_provider_that_does_not_start_is_no_silent_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, (CUDA, *CPU), CPU)
    network = OnnxEmbedder(write_tiny(tmp_path / "net.onnx"), providers=as_providers("cuda"))
    with pytest.raises(ModelError, match=f"{CUDA} could not be started here, only CPUExecutionProvider"):
        network.embed(flat_faces((1, 2, 3)))


def test_cpu_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("verify", *PHOTOS, "--model", str(write_face_network(tmp_path / "net.onnx")), "--threshold", "0.5")
    plain = run_whyface(monkeypatch, capsys, *arguments)
    assert plain == run_whyface(monkeypatch, capsys, *arguments, "--device", "CPUExecutionProvider")
