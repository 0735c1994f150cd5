"""Small folders of made-up faces for training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image


def write_faces(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Write a tree person/picture; a person's pictures differ by noise."""
    rng = np.random.default_rng(seed)
    for person, count in counts.items():
        (root / person).mkdir(parents=True)
        base = rng.integers(0, 256, (14, 14, 3)).repeat(8, axis=0).repeat(8, axis=1)
        for number in range(count):
            picture = (base + rng.normal(0, 12, base.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(root / person / f"{number}.png")
    return root


def write_config(path: Path, faces: Path, **changes: Any) -> Path:
    """Write a small run: MobileFaceNet, a few steps, no teacher unless asked for."""
    document: dict[str, Any] = {
        "data": {"sources": [{"path": str(faces)}], "held_out": 2},
        "network": {"backbone": "mobilefacenet", "head": "grid"},
        "losses": {"identification": 1.0, "similarity": 0.0},
        "batch": {"mode": "pairs", "size": 4},
        "steps": 3,
        "threads": 1,
        "accelerator": "cpu",
    }
    for key, value in changes.items():
        part = document.setdefault(key, {})
        if isinstance(value, dict) and isinstance(part, dict):
            part.update(value)
        else:
            document[key] = value
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path
