"""What all tests share: profiles of the property tests, and `--quick`.

Property tests draw the same examples in each run; `make fuzz` draws new ones.

`HYPOTHESIS_PROFILE` chooses: `fixed` (the default: `make test` and CI must not fail by chance) or
`fuzz`. `--quick` leaves out the files that need torch, a model's weights, another process's start,
or minutes to measure cost and memory, and the tests on research data, so that a contributor has an
answer in a minute; which ones is decided by what they name.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60, database=None)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=3000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# Under nohup a hang-up is ignored, by the tests' own children too; some tests are about hang-ups.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A shell's background job ignores Ctrl-C in the same way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = re.compile(
    r"torch|tiny_models|golden_models|heads_models|mark\.embedded|find_weights|transformers"
    r"|chromium|subprocess|run_sharded|tracemalloc|process_time|ITIMER_PROF|warmline\.training\.(?!rows|loop\.settings)"
)

LONGEST = (
    "examples/test_notebooks.py",
    "test_documents.py",
    "examples/test_scripts.py",
    "environments/shards/test_run.py",
    "training/evolution/test_evolve.py",
    "policies/hf/test_server.py",
    "training/reproduction/test_reproduce.py",
    "training/loop/test_distributed.py",
    "environments/shards/test_folder.py",
    "environments/shards/test_ray.py",
    "policies/hf/test_batching.py",
    "evaluation/studies/test_browser.py",
    "training/fpemf/test_train.py",
    "test_servers.py",
    "environments/shards/test_slurm.py",
    "environments/runs/test_runner.py",
    "training/test_kills.py",
    "test_refused_starts.py",
    "environments/corpus/generation/test_build.py",
)
"""Files of half a minute and more: first, so that no process has one left when the others are done."""


HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts, and keeps it when it is shut down."""
    yield
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


gc.disable()  # until everything is collected: what is made till then stays, and a fifth of the time
HEAVY = ("autogen_agentchat", "matplotlib", "ray", "sklearn", "torch", "transformers")
_frozen: set[str] = set()


def _set_apart_what_stays() -> None:
    """Have the garbage collector look no more at what lives as long as this process.

    Tests by the thousand and libraries are a million objects, and engines and trainers that close
    collect all of them each time: half of the CPU time of the trainers' tests.
    """
    loaded = {name for name in HEAVY if name in sys.modules}
    if not _frozen or loaded - _frozen:
        _frozen.update(loaded, {"tests"})
        gc.collect()
        gc.freeze()


def pytest_collection_finish() -> None:
    _set_apart_what_stays()
    gc.enable()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        _set_apart_what_stays()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those that `--quick` leaves out; within a file nothing moves."""
    root = Path(__file__).parent
    places: dict[Path, tuple[int, bool]] = {}
    for path in {item.path for item in items}:
        name = path.relative_to(root).as_posix()
        first = LONGEST.index(name) if name in LONGEST else len(LONGEST)
        places[path] = first, not SLOW.search(path.read_text("utf-8"))
    items.sort(key=lambda item: places[item.path])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="only files that need neither torch, weights nor data"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        os.environ["WARMLINE_DATA"] = str(Path(__file__).parent / "no-research-data")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--quick") or collection_path.suffix != ".py":
        return None
    is_test = collection_path.name.startswith("test_")
    return True if is_test and SLOW.search(collection_path.read_text("utf-8")) else None
