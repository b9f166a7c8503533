"""Many participants at once: how long a page takes, and whether any rating is lost.

A server in a process of its own, asked over HTTP by simulated participants that do what a browser does:
join, consent, read, write, wait, rate. Each thinks a moment between two pages. What was sent and
acknowledged is compared with what the study's files hold at the end.

    python benchmarks/serve.py [--people 200] [--exchanges 2] [--policy scripted] [--think 1.0]

With `--policy embedded` the replies come from the embedded engine, which answers a few at a time: page
times then show whether its work keeps the pages waiting, not how long a reply takes (told apart).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx

from warmline.environments.episodes.rating import iter_ratings

HIDDEN = re.compile(r'name="(csrf|task|version)" value="([^"]*)"')
DIMENSIONS = (
    *("coherence", "understanding", "empathy", "informativeness"),
    *("helpfulness", "engagement", "overall"),
)
POLL = 1.0


class Times:
    """Seconds of each page, by kind."""

    def __init__(self) -> None:
        self.pages: dict[str, list[float]] = {}
        self.replies: list[float] = []
        self.asked_again = 0

    def table(self) -> dict[str, Any]:
        found = {name: quantiles(each) for name, each in sorted(self.pages.items())}
        every = [s for each in self.pages.values() for s in each]
        return {**found, "all pages": quantiles(every), "replies": quantiles(self.replies)}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Number, median, 95th percentile and longest, in milliseconds."""
    if len(seconds) < 2:
        return {"n": len(seconds)}
    cut = statistics.quantiles(seconds, n=100, method="inclusive")
    shown = {"p50": cut[49], "p95": cut[94], "max": max(seconds)}
    return {"n": len(seconds)} | {name: round(1000 * s, 1) for name, s in shown.items()}


async def participant(
    number: int, base: str, join: str, times: Times, exchanges: int, think: float
) -> tuple[str, int]:
    """One participant from the link to the end; their path, and the ratings acknowledged."""
    draw = random.Random(number)
    async with httpx.AsyncClient(base_url=base, timeout=120, follow_redirects=False) as client:

        async def page(kind: str, path: str, data: dict[str, str] | None = None) -> httpx.Response:
            if kind != "look":  # a page that looks at itself anew
                await asyncio.sleep(draw.uniform(0.5, 1.5) * think)
            begun = time.perf_counter()
            answer = await (client.get(path) if data is None else client.post(path, data=data))
            while answer.status_code == 303:
                answer = await client.get(answer.headers["location"])
            times.pages.setdefault(kind, []).append(time.perf_counter() - begun)
            if answer.status_code != 200:
                raise RuntimeError(f"{kind}: {answer.status_code}")
            return answer

        answer = await page("join", join)
        path = answer.url.path

        async def post(kind: str, **fields: str) -> None:
            nonlocal answer
            hidden = dict(HIDDEN.findall(answer.text))
            answer = await page(kind, f"{path}/{kind}", hidden | fields)

        await post("consent", agree="yes", adult="yes", country="GB")
        await post("instructions")
        for turn in range(exchanges):
            await post("say", text=f"Participant {number} tells of matter {turn} and is worn out.")
            begun = time.perf_counter()  # the message is stored; the page looks each second
            while 'id="waiting"' in answer.text:
                version = dict(HIDDEN.findall(answer.text)).get("version", "0")
                await asyncio.sleep(POLL)
                polled = await client.get(f"{path}/talk?version={version}")
                if polled.status_code != 204:
                    answer = await page("look", path)
                if "Ask again" in answer.text:  # the model said nothing
                    times.asked_again += 1
                    await post("send")
            times.replies.append(time.perf_counter() - begun)
            if f"Participant {number} " not in answer.text:
                raise RuntimeError("somebody else's page")
        await post("end")
        await post("rate", **{f"d_{name}": str(draw.randint(1, 5)) for name in DIMENSIONS})
        if "Thank you" not in answer.text:
            raise RuntimeError("the ratings were not acknowledged")
        return path, len(DIMENSIONS)


async def everybody(base: str, join: str, options: argparse.Namespace) -> tuple[Times, int, int]:
    times = Times()
    jobs = [
        participant(n, base, join, times, options.exchanges, options.think)
        for n in range(options.people)
    ]
    done = await asyncio.gather(*jobs, return_exceptions=True)
    failures = [each for each in done if isinstance(each, BaseException)]
    for failure in failures[:3]:
        print(f"failed: {failure!r}", file=sys.stderr)
    return (
        times,
        sum(each[1] for each in done if not isinstance(each, BaseException)),
        len(failures),
    )


def main() -> None:
    """Serve, ask, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--exchanges", type=int, default=2)
    parser.add_argument("--policy", default="scripted")
    parser.add_argument("--think", type=float, default=1.0, help="mean seconds between two pages")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(
            f'title = "Load"\nkind = "pointwise"\nout = "study"\nmin_exchanges = {options.exchanges}\n'
            f"overlap = {options.people}\n[rates]\njoins = 100000\nposts = 100000\n"
            f'[models.one]\npolicy = "{options.policy}"\n[models.two]\npolicy = "{options.policy}"\n'
        )
        command = [sys.executable, "-m", "warmline.cli", "serve", "study.toml", "--port", "0"]
        server = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"WARMLINE_STUDY_SECRET": "a-secret-for-the-load", "COLUMNS": "200"},
        )  # fmt: skip
        try:
            assert server.stderr is not None
            found = re.search(r"(http://[^/]+)(/join/\S+)", server.stderr.readline())
            assert found is not None
            begun = time.perf_counter()
            times, acknowledged, failed = asyncio.run(everybody(found[1], found[2], options))
            took = time.perf_counter() - begun
        finally:
            server.terminate()
            server.wait(60)
        command = [sys.executable, "-m", "warmline.cli", "study", "results", "study.toml"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        stored = sum(1 for _ in iter_ratings(folder / "study"))
    result = {
        "policy": options.policy,
        "participants": options.people,
        "failed": failed,
        "asked again": times.asked_again,
        "ratings acknowledged": acknowledged,
        "ratings stored": stored,
        "ratings lost": acknowledged - stored,
        "seconds": round(took, 1),
        "milliseconds": times.table(),
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        if key != "milliseconds":
            print(f"{key:<22} {value}")
    print(f"\n{'page':<14} {'n':>6} {'p50 ms':>9} {'p95 ms':>9} {'max ms':>9}")
    for kind, each in times.table().items():
        cells = (f"{each.get(name, '-'):>9}" for name in ("p50", "p95", "max"))
        print(f"{kind:<14} {each['n']:>6} {' '.join(cells)}")


if __name__ == "__main__":
    main()
