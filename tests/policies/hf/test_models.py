"""Adapters, folders, hub ids and kinds of models."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from warmline.core.errors import ConfigError, ContextTooLong, DataError, ModelNotFound
from warmline.policies import make_policy
from warmline.policies.hf.policy import TransformersPolicy

from .. import tiny_models
from .asking import TALKS, ask, plain_greedy, together


async def merged_texts(base: Path, adapter: Path, talks: list[str]) -> list[str]:
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    whole = model.merge_and_unload().eval()
    return [plain_greedy(whole, base, talk) for talk in talks]


async def test_adapters_share_one_base_and_one_batch(folders: Path, llama: Path) -> None:
    async with (
        TransformersPolicy(llama) as base,
        TransformersPolicy(folders / "warm") as warm,
        TransformersPolicy(llama, adapter=folders / "cold") as cold,
    ):
        assert base._opened.engine is warm._opened.engine is cold._opened.engine
        texts = await asyncio.gather(
            *[together(policy, [ask(talk) for talk in TALKS]) for policy in (base, warm, cold)]
        )
        scores = [await policy.score(ask("Hi"), "Tell me more.") for policy in (base, warm, cold)]
        model = base._opened.engine._model
        async with TransformersPolicy(llama, adapter=folders / "cold") as also_cold:
            assert await together(also_cold, [ask("Hi")]) == [texts[2][TALKS.index("Hi")]]
        await warm.aclose()
        after = await together(cold, [ask(talk) for talk in TALKS])
        await cold.aclose()
        plain_again = await together(base, [ask(talk) for talk in TALKS])
        assert model.peft is None
    plain = AutoModelForCausalLM.from_pretrained(llama).eval()
    assert texts[0] == plain_again == [plain_greedy(plain, llama, talk) for talk in TALKS]
    assert texts[1] == await merged_texts(llama, folders / "warm", TALKS)
    assert texts[2] == after == await merged_texts(llama, folders / "cold", TALKS)
    assert len({tuple(entry.logprob for entry in score) for score in scores}) == 3


async def test_adapters_chain_and_merge(folders: Path, llama: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    upper = tmp_path / "runs" / "m1"
    shutil.copytree(folders / "cold", upper)
    config = json.loads((upper / "adapter_config.json").read_text())
    shutil.copytree(folders / "warm", tmp_path / "runs" / "m0")
    config["base_model_name_or_path"] = "../m0"
    (upper / "adapter_config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(llama)
    for adapter in (folders / "warm", folders / "cold"):
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    expected = [plain_greedy(model.eval(), llama, talk) for talk in TALKS]
    for options in ({}, {"merge_adapter": True}, {"deterministic": True}):
        async with TransformersPolicy(upper, **options) as policy:
            assert await together(policy, [ask(talk) for talk in TALKS]) == expected
            assert (policy._opened.engine._model.peft is None) == ("merge_adapter" in options)
    names = [adapter["name"] for adapter in TransformersPolicy(upper).describe()["adapters"]]
    assert names == ["m0", "m1"]


async def test_adapters_of_other_kinds_are_merged(llama: Path, tmp_path: Path) -> None:
    dora = tiny_models.save_lora(tmp_path / "dora", llama, use_dora=True)
    async with TransformersPolicy(dora) as policy:
        assert policy._opened.engine._model.peft is None
        texts = await together(policy, [ask(talk) for talk in TALKS])
    assert texts == await merged_texts(llama, dora, TALKS)


def with_weights(adapter: Path, folder: Path, **more: torch.Tensor) -> Path:
    """A copy of an adapter whose file also holds these weights; dots are written as `__`."""
    shutil.copytree(adapter, folder)
    file = folder / "adapter_model.safetensors"
    named = {f"base_model.model.{name.replace('__', '.')}": w for name, w in more.items()}
    save_file(load_file(file) | named, file)
    return folder


@pytest.mark.parametrize(
    "more",
    [
        {"lm_head__weight": torch.randn(400, 32)},
        {"model__norm__weight": torch.randn(32)},
        {"model__layers__0__self_attn__o_proj__weight": torch.randn(32, 32)},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_weights_beside_lora_change_no_other_seat(
    more: dict[str, torch.Tensor], folders: Path, llama: Path, tmp_path: Path
) -> None:
    """The file's weights count although its configuration does not list them."""
    vocabulary = AutoModelForCausalLM.from_pretrained(llama).config.vocab_size
    more = {name: w[:vocabulary] for name, w in more.items()}
    odd = with_weights(folders / "warm", tmp_path / "odd", **more)
    async with TransformersPolicy(llama) as bare:
        expected = await together(bare, [ask(talk) for talk in TALKS])
        async with TransformersPolicy(llama, adapter=odd) as seated:
            texts = await together(seated, [ask(talk) for talk in TALKS])
            assert await together(bare, [ask(talk) for talk in TALKS]) == expected
            assert seated._opened.engine is not bare._opened.engine
    assert texts == await merged_texts(llama, odd, TALKS)
    async with TransformersPolicy(llama, adapter=folders / "warm") as plain:
        assert await together(plain, [ask(talk) for talk in TALKS]) != texts
        with pytest.raises(ConfigError, match="holds more than plain LoRA"):
            plain._opened.engine._model.add_adapter(str(odd))


async def test_adapters_whose_files_lack_or_exceed_weights_are_named(
    folders: Path, llama: Path, tmp_path: Path
) -> None:
    unknown = with_weights(folders / "warm", tmp_path / "unknown", extra__weight=torch.zeros(2))
    with pytest.raises(ConfigError, match=r"no counterpart, such as base_model.model.extra.weight"):
        await TransformersPolicy(llama, adapter=unknown).open()
    saving = tiny_models.save_lora(tmp_path / "saving", llama, modules_to_save=["lm_head"])
    file = saving / "adapter_model.safetensors"
    save_file({k: w for k, w in load_file(file).items() if "lm_head" not in k}, file)
    with pytest.raises(ConfigError, match=r"its file has no weight '.*lm_head"):
        await TransformersPolicy(llama, adapter=saving).open()
    cut = tmp_path / "cut"
    shutil.copytree(folders / "warm", cut)
    whole = (cut / "adapter_model.safetensors").read_bytes()
    for kept, error in ((len(whole) - 100, ConfigError), (100, DataError), (3, DataError)):
        (cut / "adapter_model.safetensors").write_bytes(whole[:kept])
        with pytest.raises(error, match=r"cannot be (attached|read as safetensors)"):
            await TransformersPolicy(llama, adapter=cut).open()


@pytest.mark.parametrize("first", [True, False])
async def test_an_adapter_that_does_not_fit_spoils_no_later_one(
    llama: Path, tmp_path: Path, first: bool
) -> None:
    """Its layers stayed on the shared base, and every later adapter failed on their sizes."""
    good = tiny_models.save_lora(tmp_path / "good", llama)
    faulty = shutil.copytree(good, tmp_path / "faulty")
    config = json.loads((faulty / "adapter_config.json").read_text("utf-8"))
    (faulty / "adapter_config.json").write_text(json.dumps(config | {"r": 8}), "utf-8")
    later = tiny_models.save_lora(tmp_path / "later", llama, seed=2)
    async with TransformersPolicy(llama) as plain:
        bare = (await plain.respond(ask("Hi"))).text
        before = TransformersPolicy(llama, adapter=good)
        if not first:
            await before.open()
        with pytest.raises(ConfigError, match="size mismatch"):
            await TransformersPolicy(llama, adapter=faulty).open()
        texts = await merged_texts(llama, later, ["Hi"])
        async with TransformersPolicy(llama, adapter=later) as policy:
            assert policy._opened.engine is plain._opened.engine
            assert [(await policy.respond(ask("Hi"))).text] == texts
        await before.aclose()
        assert (await plain.respond(ask("Hi"))).text == bare


async def test_unusable_adapters_are_named(folders: Path, llama: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folders / "warm", broken)
    (broken / "adapter_model.safetensors").rename(broken / "adapter_model.bin")
    with pytest.raises(ModelNotFound, match=r"has no adapter_model\.safetensors"):
        await TransformersPolicy(broken).open()
    prompt_tuning = tmp_path / "prompt"
    shutil.copytree(folders / "warm", prompt_tuning)
    config = json.loads((prompt_tuning / "adapter_config.json").read_text())
    changed = config | {"num_virtual_tokens": 8, "peft_type": "PROMPT_TUNING"}
    (prompt_tuning / "adapter_config.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="PROMPT_TUNING"):
        await TransformersPolicy(prompt_tuning).open()
    with pytest.raises(ModelNotFound, match="is not an adapter"):
        await TransformersPolicy(llama, adapter=llama).open()
    deeper = tiny_models.save_causal(tmp_path / "deeper", layers=3)
    for adapter, base in (
        (folders / "warm", folders / "blenderbot"),  # other shapes
        (folders / "warm", deeper),  # a layer without weights
        (tiny_models.save_lora(tmp_path / "lora3", deeper), llama),  # weights without a layer
    ):
        for merge in (False, True):
            with pytest.raises(ConfigError, match="cannot be attached to"):
                await TransformersPolicy(base, adapter=adapter, merge_adapter=merge).open()
    async with TransformersPolicy(llama) as policy:  # one that fits not leaves the shared model be
        with pytest.raises(ConfigError, match="cannot be attached to"):
            await TransformersPolicy(llama, adapter=tmp_path / "lora3").open()
        assert policy._opened.engine._model.peft is None
        assert (await policy.respond(ask("Hi"))).text


async def test_missing_and_unsafe_models_are_named(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no model at '\./nowhere'"):
        await TransformersPolicy("./nowhere").open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match=r"neither config\.json nor \.gguf"):
        await TransformersPolicy(tmp_path / "empty").open()
    pickled = tmp_path / "pickled"
    shutil.copytree(llama, pickled)
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelNotFound, match="safetensors"):
        await TransformersPolicy(pickled).open()


def test_hub_ids_are_found_in_the_cache_when_offline(llama: Path, tmp_path: Path) -> None:
    kept = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(llama, kept / "snapshots" / ("a" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    code = """
import asyncio
from warmline.policies import Message, Request, make_policy
from warmline.core.errors import ModelNotFound

async def main():
    async with make_policy("transformers", model="someone/tiny", threads=1) as policy:
        await policy.respond(Request((Message("user", "Hi"),), seed=1))
        print("OK", policy.describe()["model"], policy.id)
    for options in ({"model": "someone/unknown"}, {"model": "someone/tiny", "adapter": "a/b"}):
        try:
            await make_policy("transformers", **options).open()
        except ModelNotFound as error:
            print("OK", error.message.splitlines()[0][:60])

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, second, third = done.stdout.splitlines()
    assert first == "OK someone/tiny transformers:tiny"
    assert second.startswith("OK transformers cannot load 'someone/unknown'")
    assert third.startswith("OK no folder 'a/b', and the hub says")


def test_options_are_checked_all_at_once(llama: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        TransformersPolicy(llama, max_batch=0, dtype="int8", cache_gb=0, threads=0)
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="threads = 2, but deterministic"):
        TransformersPolicy(llama, deterministic=True, threads=2)
    with pytest.raises(ConfigError, match="did you mean 'adapter'"):
        make_policy("transformers", model=llama, adaptor="x")


@pytest.mark.parametrize(
    ("capable", "taken"),
    [
        ({}, "float32"),
        ({"avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
    ],
)
def test_a_cpu_that_multiplies_bfloat16_takes_it(
    capable: dict[str, bool], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warmline.policies.models.loading import find_dtype

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capable)
    assert find_dtype("auto", "cpu") == taken
    assert find_dtype("float16", "cpu") == "float16"


async def test_devices_and_dtypes(llama: Path) -> None:
    from warmline.policies.models.loading import find_device, find_dtype

    assert find_dtype("float16", "cpu") == "float16"
    with pytest.raises(ConfigError, match="is not a device"):
        find_device("warp")
    if not torch.cuda.is_available():
        assert find_device("auto") == "cpu"
        with pytest.raises(ConfigError, match="torch sees 0"):
            await TransformersPolicy(llama, device="cuda").open()
    async with TransformersPolicy(llama, dtype="bfloat16") as policy:
        assert policy._opened.engine._model.model.dtype == torch.bfloat16
        assert (await policy.respond(ask("Hi"))).text
        assert policy.describe()["dtype"] == "bfloat16"


def test_a_description_knows_the_weights(folders: Path, llama: Path, tmp_path: Path) -> None:
    described = TransformersPolicy(llama).describe()
    assert described["model"] == "llama"
    assert str(llama.parent) not in json.dumps(described)
    assert TransformersPolicy(llama).id == "transformers:llama"
    retrained = tiny_models.save_causal(tmp_path / "llama", seed=5)
    assert TransformersPolicy(retrained).describe() != described
    shutil.copytree(llama, tmp_path / "copy" / "llama")
    assert TransformersPolicy(tmp_path / "copy" / "llama").describe() == described
    adapted = [TransformersPolicy(folders / name).describe() for name in ("warm", "cold")]
    assert adapted[0] != adapted[1]


async def test_a_state_that_is_no_cache_is_refused(llama: Path, tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    folder = tmp_path / "mamba"
    tokenizer = tiny_models.make_tokenizer()
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1)
    tiny_models._save(MambaForCausalLM(config), tokenizer, folder)
    with pytest.raises(ConfigError, match="keeps a state that this policy cannot batch"):
        await TransformersPolicy(folder).open()


async def test_a_model_that_cannot_be_batched_is_found_out(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    tokenizer = tiny_models.make_tokenizer()
    torch.manual_seed(0)
    config = BloomConfig(
        vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=0, pad_token_id=3,
    )  # fmt: skip
    folder = tiny_models._save(BloomForCausalLM(config), tokenizer, tmp_path / "bloom")
    with pytest.raises(ConfigError, match="set max_batch = 1"):
        await TransformersPolicy(folder).open()  # its positions come from a mask of its own kind
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    async with TransformersPolicy(folder, max_batch=1) as policy:
        texts = await together(policy, [ask(talk) for talk in TALKS])
    assert texts == [plain_greedy(model, folder, talk) for talk in TALKS]


async def test_a_number_format_that_is_too_small_is_named(tmp_path: Path) -> None:
    """Weights whose activations pass float16's 65504; it is not the batch's fault."""
    folder = tiny_models.save_causal(tmp_path / "loud")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.model.layers[0].mlp.down_proj.weight.data *= 1e6
    model.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"undefined logits in float16, also alone") as caught:
        await TransformersPolicy(folder, dtype="float16").open()
    assert "bfloat16" in str(caught.value.hint)
    async with TransformersPolicy(folder, dtype="float32") as policy:
        assert (await policy.respond(ask("Hi"))).usage.prompt_tokens


async def test_positions_that_depend_on_neighbours_are_left_out(tmp_path: Path) -> None:
    """LongRoPE takes other frequencies for all rows once one of them is beyond its first window."""
    folder = tiny_models.save_causal(tmp_path / "long")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64,
        "short_factor": [1.0] * 4, "long_factor": [1.0, 4.0, 8.0, 16.0],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"context_tokens = 200: beyond 64 tokens"):
        await TransformersPolicy(folder, context_tokens=200).open()
    policy = TransformersPolicy(folder)
    with pytest.warns(UserWarning, match="prompt and answer have 64 tokens, not 512"):
        await policy.open()
    async with policy:
        alone = (await policy.respond(ask("Hi"))).text
        with pytest.raises(ContextTooLong, match="64 tokens"):
            await policy.respond(ask(TALKS[1]))
        assert (await together(policy, [ask("Hi"), ask("no")]))[0] == alone
