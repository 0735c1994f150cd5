"""Stores: broken pictures are skipped and named, people are left out and held out, CFP's tree is understood."""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.face_folders import write_faces
from whyface.demo import demo_photo
from whyface.errors import DataError
from whyface.faces.load import load_face
from whyface.train.config import DataConfig, SourceConfig
from whyface.train.picture_store import PictureStore, open_stores, read_people


def opened(config: DataConfig, seed: int = 0) -> tuple[PictureStore, PictureStore | None]:
    with ExitStack() as stack:
        return open_stores(config, seed=seed, stack=stack)


def config_of(root: Path, **changes: object) -> DataConfig:
    values: dict[str, object] = {"sources": [SourceConfig(path=root)], "held_out": 1, **changes}
    return DataConfig.model_validate(values)


def test_pictures_and_labels(tmp_path: Path) -> None:
    store, held = opened(config_of(write_faces(tmp_path / "f", {"a": 2, "b": 3, "c": 2, "d": 1})))
    assert held is not None
    assert len(held.people) == 1
    assert sorted([*store.people, *held.people]) == ["a", "b", "c", "d"]
    assert "d" in store.people
    assert store.singles == 1
    assert "1 of them with one picture only" in store.summary()
    pictures = store.read(torch.tensor([0, 1]))
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (2, 3, 112, 112)
    for number, rows in enumerate(store.rows):
        assert (store.labels[rows] == number).all()


@pytest.mark.parametrize("cache", [True, False])
def test_broken_pictures_are_skipped_and_named(tmp_path: Path, cache: bool) -> None:
    root = write_faces(tmp_path / "f", {"a": 3, "b": 2, "c": 2})
    (root / "a" / "1.png").write_bytes((root / "a" / "1.png").read_bytes()[:200])
    with ExitStack() as stack:
        store, _ = open_stores(config_of(root, cache=cache), seed=3, stack=stack)
        if "a" not in store.people:
            pytest.skip("the seed held out the person with the broken picture")
        pictures = store.read(torch.arange(len(store)))
    assert pictures.shape[0] == len(store)
    assert [Path(name).name for name in store.broken] == ["1.png"]
    assert len(store.rows[store.people.index("a")]) == (2 if cache else 3)


@pytest.mark.parametrize("cache", [True, False])
def test_two_sources_with_equal_names(tmp_path: Path, cache: bool) -> None:
    """Whatever is broken in one says nothing about the other's picture of that name, and both are named."""
    roots = [write_faces(tmp_path / where, {"a": 2, "b": 2}, seed=number) for number, where in enumerate("xy")]
    (roots[0] / "a" / "0.png").write_bytes(b"nothing")
    sources = [SourceConfig(path=root, name=root.name) for root in roots]
    config = DataConfig(sources=sources, held_out=0, cache=cache, protocol="lfw", protocol_data=tmp_path)
    with ExitStack() as stack:
        store, _ = open_stores(config, seed=0, stack=stack)
        rows = [int(row) for row in store.rows[store.people.index("y/a")]]
        store.read(torch.arange(len(store)))
        first = store.read(torch.tensor(rows[:1]))[0]
    assert list(store.broken) == [f"{roots[0]}: a/0.png"]
    with Image.open(roots[1] / "a" / "0.png") as picture:
        assert np.array_equal(first.numpy().transpose(1, 2, 0), np.asarray(picture))


def test_both_sources_broken_are_two_broken_pictures(tmp_path: Path) -> None:
    roots = [write_faces(tmp_path / where, {"a": 2, "b": 2}) for where in "xy"]
    for root in roots:
        (root / "a" / "0.png").write_bytes(b"nothing")
    sources = [SourceConfig(path=root, name=root.name) for root in roots]
    store, _ = opened(DataConfig(sources=sources, held_out=0, protocol="lfw", protocol_data=tmp_path))
    assert len(store.broken) == 2
    assert "2 broken and skipped" in store.summary()


def test_a_person_without_any_readable_picture(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "f", {"a": 1, "b": 2, "c": 2})
    (root / "a" / "0.png").write_bytes(b"nothing")
    with ExitStack() as stack:
        store, _ = open_stores(config_of(root, cache=False), seed=0, stack=stack)
        with pytest.raises(DataError, match="none of the 1 pictures of 'a'"):
            store.read(torch.arange(len(store)))


def test_people_left_out_and_kept(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "f", {"a": 2, "b": 2, "c": 2, "d": 2})
    (tmp_path / "out.json").write_text(json.dumps(["a"]), encoding="utf-8")
    (tmp_path / "only.json").write_text(json.dumps(["a", "b", "c"]), encoding="utf-8")
    source = SourceConfig(path=root, name="set", people=tmp_path / "only.json")
    store, held = opened(DataConfig(sources=[source], held_out=1, leave_out=tmp_path / "out.json"))
    assert held is not None
    assert sorted([*store.people, *held.people]) == ["set/b", "set/c"]


def test_cfp_s_tree(tmp_path: Path) -> None:
    root = tmp_path / "cfp" / "Images"
    for person in ("001", "002", "003"):
        write_faces(root / person, {"frontal": 2, "profile": 1}, seed=int(person))
    store, _ = opened(DataConfig(sources=[SourceConfig(path=tmp_path / "cfp", layout="cfp")], held_out=1))
    assert len(store.people) == 2
    assert len(store) == 6
    with pytest.raises(DataError, match="not CFP's tree"):
        flat = write_faces(tmp_path / "flat", {"a": 2})
        opened(DataConfig(sources=[SourceConfig(path=flat, layout="cfp")], held_out=1))


def test_every_picture_of_another_person(tmp_path: Path) -> None:
    """They are learnt from, never held out, and can be left out by name."""
    root = write_faces(tmp_path / "set", {"val": 3})
    more = write_faces(tmp_path / "tree", {"a": 2, "b": 2})
    (tmp_path / "out.json").write_text(json.dumps(["set/val/1.png"]), encoding="utf-8")
    sources = [SourceConfig(path=root, layout="singles", name="set"), SourceConfig(path=more)]
    store, held = opened(DataConfig(sources=sources, held_out=1, leave_out=tmp_path / "out.json"))
    assert held is not None
    assert held.people[0] in {"a", "b"}
    assert store.people == sorted({"set/val/0.png", "set/val/2.png", "a", "b"} - set(held.people))
    assert store.singles == 2


def test_no_pictures_of_single_people(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in it"):
        opened(DataConfig(sources=[SourceConfig(path=tmp_path, layout="singles")], held_out=1))


def test_photographs_are_aligned_on_the_way_and_kept(tmp_path: Path) -> None:
    photos = {"obama": ("obama-portrait.jpg", "obama-speech.jpg"), "biden": ("biden-portrait.jpg",)}
    for person, names in photos.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for name in names:
            (tmp_path / "photos" / person / name).write_bytes(demo_photo(name).read_bytes())
    write_faces(tmp_path / "photos", {"nobody": 1})
    source = SourceConfig(path=tmp_path / "photos", align=True, align_cache=tmp_path / "cache")
    config = DataConfig(sources=[source], held_out=0, protocol="lfw", protocol_data=tmp_path)
    store, held = opened(config)
    assert held is None
    assert store.people == ["biden", "obama"]
    assert list(store.broken) == ["nobody/0.png"]
    face = load_face(demo_photo("biden-portrait.jpg")).image.transpose(2, 0, 1)
    assert np.array_equal(store.read(torch.tensor([0]))[0].numpy(), face)
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 3


def test_too_few_people_to_hold_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few to hold 5"):
        opened(config_of(write_faces(tmp_path / "f", {"a": 2, "b": 2}), held_out=5))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        opened(config_of(tmp_path))


def test_lists_of_people(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('{"cfp": 1}', encoding="utf-8")
    with pytest.raises(DataError):
        read_people(path)
    path.write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="not a list of people"):
        read_people(path)
