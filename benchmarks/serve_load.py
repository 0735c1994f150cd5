"""What the service bears: requests a second and waiting times, at four times its load too, and memory over thousands.

    python benchmarks/serve_load.py --out docs/studies/benchmarks/serve_load.json

Starts ``whyface serve`` as a process of its own on the loopback, with its default queue, and calls ``/verify`` with two
photos of the demo, scaled to 480 pixels and re-encoded with seeded noise so that no two requests are equal. Stages:
one client after the other; as many clients as workers; four times as many clients as workers and queue have room
for. A refused client waits as long as ``Retry-After`` says, at most two seconds here. The memory is that of the
process, from /proc, after each hundredth of the last stage, where 19 of 20 requests send aligned crops, which is
quicker, and one sends photos; the rise is from the mean of the second tenth to the mean
of the last.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.photo import read_photo
from whyface.service.limits import Limits

BOUNDARY: Final = "load"
PORT: Final = 8765
PICTURES: Final = 8


def bodies(seed: int, *, aligned: bool = False) -> list[bytes]:
    """Return requests with two photos, or two aligned crops, each."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(PICTURES):
        parts = []
        for name, photo in (("photo_a", "obama-portrait.jpg"), ("photo_b", "obama-speech.jpg")):
            if aligned:
                pixels = load_face(demo_photo(photo)).image.astype(np.float32)
            else:
                picture = Image.fromarray(read_photo(demo_photo(photo)))
                picture.thumbnail((480, 480))
                pixels = np.asarray(picture, np.float32)
            noisy = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
            written = io.BytesIO()
            Image.fromarray(noisy).save(written, "JPEG", quality=90)
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'
            parts += [head.encode(), written.getvalue(), b"\r\n"]
        flag = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="aligned"\r\n\r\n{aligned}\r\n'
        found.append(b"".join([*parts, flag.encode(), f"--{BOUNDARY}--\r\n".encode()]))
    return found


class Clients:
    """So many clients that call until so many requests were answered.

    Parameters
    ----------
    requests
        The bodies, in turn.
    count
        Answers to wait for, refusals not counted.
    """

    def __init__(self, requests: list[bytes], count: int) -> None:
        self.requests, self.count = requests, count
        self.given = 0
        self.lock = threading.Lock()
        self.times: dict[int, list[float]] = {}
        self.memory: list[int] = []

    def run(self, clients: int, server: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Call, and return what was measured."""
        start = time.perf_counter()
        threads = [threading.Thread(target=self._call, args=(server.pid,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        answered = self.times.get(200, [])
        return {
            "clients": clients,
            "answered": len(answered),
            "seconds": round(seconds, 1),
            "answered_per_second": round(len(answered) / seconds, 2),
            "statuses": dict(Counter({str(status): len(times) for status, times in self.times.items()})),
            "answered_seconds": _quantiles(answered),
            "refused_seconds": _quantiles(
                [one for status, times in self.times.items() if status != 200 for one in times]
            ),
        }

    def _call(self, server: int) -> None:
        while True:
            with self.lock:
                number, self.given = self.given, self.given + 1
            if number >= self.count:
                return
            while not self._once(number, server):
                pass

    def _once(self, number: int, server: int) -> bool:
        body = self.requests[number % len(self.requests)]
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
        try:
            connection.request("POST", "/verify", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
            answer = connection.getresponse()
            answer.read()
        except OSError:
            # Refused while it was still sending.
            answer = None
        finally:
            connection.close()
        status = 0 if answer is None else answer.status
        with self.lock:
            self.times.setdefault(status, []).append(time.perf_counter() - start)
            if number % max(self.count // 100, 1) == 0:
                self.memory.append(_memory(server))
        if status == 200:
            return True
        wait = 1 if answer is None else int(answer.getheader("Retry-After", "1"))
        time.sleep(min(wait, 2))
        return False


def _quantiles(times: list[float]) -> dict[str, float] | None:
    if not times:
        return None
    return {
        name: round(float(np.quantile(times, share)), 4) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def _memory(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _wait(server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("the service did not start")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="xcos-large")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=300, help="answers of each of the first three stages")
    parser.add_argument("--long", type=int, default=2000, help="answers of the last stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    requests = bodies(given.seed)
    room = given.workers + Limits().queue
    command = [
        *("serve", "--port", str(PORT), "--model", given.model, "--workers", str(given.workers), "--seconds", "300")
    ]
    server = subprocess.Popen([sys.executable, "-m", "whyface", *command], stdout=subprocess.DEVNULL)
    try:
        _wait(server)
        stages = {
            "warm_up": Clients(requests, 5).run(1, server),
            "one_client": Clients(requests, given.requests).run(1, server),
            "as_many_as_workers": Clients(requests, given.requests).run(given.workers, server),
            "four_times_the_room": Clients(requests, given.requests).run(4 * room, server),
        }
        crops = bodies(given.seed, aligned=True)
        last = Clients([requests[0], *(crops[number % PICTURES] for number in range(19))], given.long)
        stages["long"] = last.run(given.workers, server)
        memory, tenth = last.memory, max(len(last.memory) // 10, 1)
    finally:
        server.terminate()
        server.wait(60)
    publish(
        {
            "command": f"python benchmarks/serve_load.py {' '.join(sys.argv[1:])}".strip(),
            "served": f"whyface {' '.join(command)}",
            "data": f"{PICTURES} pairs of demo photos, 480 pixels, noise with seed {given.seed}",
            "cores": os.cpu_count(),
            "load_average_at_the_end": os.getloadavg()[0],
            "stages": stages,
            "memory": {
                "first": memory[0],
                "last": memory[-1],
                "most": max(memory),
                "rise": float(np.mean(memory[-tenth:]) - np.mean(memory[tenth : 2 * tenth])),
            },
            "versions": software_versions(),
        },
        given.out,
    )


if __name__ == "__main__":
    main()
