"""Every script of `examples/` runs, as a user would run it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = 11
"""How many there are; one that is added gets a test here."""
LINES = 60


def run(name: str, *arguments: str, **environment: str) -> str:
    done = started(name, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(name: str, *arguments: str) -> str:
    """What it tells on standard error as it ends with 1."""
    done = started(name, *arguments)
    assert done.returncode == 1
    return done.stderr


def started(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("batch_self_chat.py", "OUT COUNT [POLICY]"),
        ("export_to_trainers.py", "CORPUS OUT"),
        ("on_ray.py", "OUT COUNT POLICY"),
        ("vllm_engine.py", "MODEL [ADAPTER]"),
    ],
)
def test_a_script_that_is_given_too_little_says_how_it_is_used(name: str, usage: str) -> None:
    told = refused(name)
    assert f"usage: python examples/{name} {usage}\n" in told
    assert "Traceback" not in told


def test_a_script_says_what_it_needs_or_cannot_do(exported: Path) -> None:
    there = refused("export_to_trainers.py", "seeds:train", str(exported))
    assert "is there already; give the name of a new folder" in there
    if importlib.util.find_spec("inspect_ai") is None:
        told = refused("inspect_supporter.py")
        assert told == "inspect_supporter.py needs Inspect: pip install inspect-ai\n"


def test_the_pages_count_and_name_the_scripts() -> None:
    words = {9: "nine", 10: "ten", 11: "eleven", 12: "twelve"}
    docs = EXAMPLES.parent / "docs"
    listed = (docs / "examples.md").read_text("utf-8")
    assert not [s.name for s in EXAMPLES.glob("*.py") if f"| `{s.name}` |" not in listed]
    notebooks = sorted((EXAMPLES / "notebooks").glob("n*.py"))
    assert not [n.stem for n in notebooks if f"| `{n.stem}` |" not in listed]
    counted = f"{words[len(notebooks)]} notebooks, {words[SCRIPTS]} scripts and a plug-in package"
    assert counted in (docs / "index.md").read_text("utf-8")


def test_one_conversation() -> None:
    printed = run("one_conversation.py", "scripted")
    assert printed.count("Seeker: ") == printed.count("Supporter: ") > 0
    assert "ended: " in printed


def test_custom_policy() -> None:
    printed = run("custom_policy.py", "scripted")
    assert printed.count("supporter: ") >= 2


@pytest.mark.embedded
def test_one_conversation_on_the_embedded_model() -> None:
    printed = run("one_conversation.py")
    assert 1 <= printed.count("Supporter: ") <= 3


def test_corpus_to_dataset() -> None:
    printed = run("corpus_to_dataset.py")
    assert "imported: 1 dialogues" in printed
    assert "kept after cleaning: 1" in printed
    assert "{'train': 4}" in printed or ": 4" in printed


@pytest.mark.embedded
def test_train_supporter() -> None:
    printed = run("train_supporter.py")
    assert "trained 2 steps" in printed
    assert "seated: transformers:m0" in printed


def test_openai_server() -> None:
    """Over HTTP, with a policy of ours behind the server."""
    printed = run("openai_server.py")
    assert printed.count(" tokens") == 4
    assert printed.count("Go on, I am listening (") == 4 * 6


def test_batch_self_chat_goes_on(tmp_path: Path) -> None:
    run("batch_self_chat.py", str(tmp_path / "run"), "3", "scripted")
    before = (tmp_path / "run" / "episodes.jsonl").read_text("utf-8")
    printed = run("batch_self_chat.py", str(tmp_path / "run"), "6", "scripted")
    assert "6 conversations" in printed
    assert "0 failed" in printed
    assert (tmp_path / "run" / "episodes.jsonl").read_text("utf-8").startswith(before)


def test_peer_tutoring() -> None:
    printed = run("peer_tutoring.py")
    assert printed.count("Seeker: ") == printed.count("Supporter: ") == 4
    assert "'seeker': " in printed


def test_vllm_engine(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed: `make test-vllm` has it")
    from tests.policies.tiny_models import save_causal

    model = save_causal(tmp_path / "model")
    printed = run("vllm_engine.py", str(model), EAGER="1", MAX_MODEL_LEN="512")
    assert printed.count(" cached") == 4


def test_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'warmline[ray]'")
    printed = run("on_ray.py", str(tmp_path / "run"), "6", "scripted")
    assert "6 conversations in episodes-" in printed


def test_the_plug_in_package_is_found_once_it_is_installed(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    install += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(tmp_path)]
    source = tmp_path / "source"
    source.mkdir()
    for path in (EXAMPLES / "plugin").rglob("*"):
        if path.suffix in (".py", ".toml"):  # a build writes beside its source
            target = source / path.relative_to(EXAMPLES / "plugin")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text("utf-8"), "utf-8")
    subprocess.run([*install, str(source)], check=True, timeout=200)
    said = (
        "import warmline; e = warmline.simulate(policy='scripted', episodes=1, max_turns=2,"
        " supporter={'policy': 'quiet_listener', 'options': {'words': 2}}); print(e[0].transcript())"
    )
    done = subprocess.run(
        [sys.executable, "-c", said],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Supporter: ... the seeker?" in done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "data-set"
    assert "{'train': 360}" in run("export_to_trainers.py", "seeds:train", str(out))
    return out


def test_export_to_trl(exported: Path) -> None:
    """TRL reads the rows as conversations, and knows which part is learned."""
    from datasets import load_dataset
    from trl.data_utils import is_conversational

    rows: Any = load_dataset(str(exported), split="train")
    assert len(rows) > 50
    assert is_conversational(rows[0])


def test_export_to_llama_factory(exported: Path) -> None:
    """Its own reader where it is installed; what it documents of `dataset_info.json` in any case."""
    info = json.loads((exported / "dataset_info.json").read_text("utf-8"))["warmline"]
    rows = [json.loads(line) for line in (exported / info["file_name"]).open(encoding="utf-8")]
    tags, column = info["tags"], info["columns"]["messages"]
    for row in rows:
        said = [message[tags["role_tag"]] for message in row[column]]
        assert said == [tags["user_tag"], tags["assistant_tag"]] * (len(said) // 2)
    parser = llama_factory_parser()
    (attributes,) = parser.get_dataset_list(["warmline"], str(exported))
    assert attributes.formatting == "sharegpt"
    assert attributes.messages == "messages"


def llama_factory_parser() -> Any:
    """Its module that reads `dataset_info.json`; the rest of its package needs torchaudio and CUDA."""
    package = importlib.util.find_spec("llamafactory")
    if package is None or not package.submodule_search_locations:
        pytest.skip("LLaMA-Factory is not installed: `make test-interop`")
    data = types.ModuleType("llamafactory.data")
    data.__path__ = [str(Path(package.submodule_search_locations[0]) / "data")]
    sys.modules.setdefault("llamafactory.data", data)
    return importlib.import_module("llamafactory.data.parser")


def test_export_to_axolotl(exported: Path) -> None:
    import yaml

    settings = yaml.safe_load((exported / "axolotl.yaml").read_text("utf-8"))
    (data,) = settings["datasets"]
    assert Path(data["path"]).is_file()
    schema = pytest.importorskip(
        "axolotl.utils.schemas.datasets", reason="Axolotl is not installed: `make test-interop`"
    )
    assert schema.SFTDataset(**data).field_messages == "messages"


TOLD = """
import os, sys
from inspect_ai import eval, model

@model.modelapi(name="told")
class Told(model.ModelAPI):
    async def generate(self, input, tools, tool_choice, config):
        said = "One. Two. Three. Four. Five." if len(input) > 3 else "I hear you."
        return model.ModelOutput.from_content(self.model_name, said)

(log,) = eval("inspect_supporter.py", model="told/one", display="plain", log_dir=sys.argv[1])
assert log.status == "success", log.error
print([str(m.role) for m in log.samples[0].messages])
print(log.results.scores[0].name, log.results.scores[0].metrics["mean"].value)
"""


def test_inspect_supporter(tmp_path: Path) -> None:
    """ "inspect_supporter.py" under Inspect itself, with a model of ours: later replies are cut."""
    pytest.importorskip("inspect_ai", reason="Inspect is not installed: `make test-interop`")
    done = subprocess.run(
        [sys.executable, "-c", TOLD, str(tmp_path)],
        cwd=EXAMPLES, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    *_, roles, score = done.stdout.strip().splitlines()
    assert roles == str(["user", "assistant"] * 3)
    assert score == "short_enough 0.3333333333333333"


def test_every_script_is_run_here_and_short() -> None:
    source = Path(__file__).read_text("utf-8")
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == SCRIPTS
    for script in scripts:
        assert f'"{script.name}"' in source
        assert len(script.read_text("utf-8").splitlines()) < LINES
