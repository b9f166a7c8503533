"""The vocabulary in a GGUF file's header, against what the `gguf` library reads."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from warmline.core.errors import ConfigError
from warmline.policies.models.vocabulary import GgufVocabulary, read_gguf_vocabulary


def save(path: Path, *, template: str | None = "{{ messages }}</s>") -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.context_length", 32)
    writer.add_array("llama.some_flags", [True, False])
    writer.add_token_list(["<unk>", "</s>", "我", "<think>", "hello", "sad"])
    writer.add_token_types([2, 3, 1, 4, 4, 1])
    writer.add_token_scores([0.0, -1.0, -2.0, -3.0, -4.0, -5.0])
    if template is not None:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_special_tokens_and_template_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gguf")
    assert read_gguf_vocabulary(path) == GgufVocabulary(
        ("</s>",), ("<think>", "hello"), "{{ messages }}</s>"
    )
    types = gguf.GGUFReader(path).get_field("tokenizer.ggml.token_type")
    assert types is not None
    assert types.contents() == [2, 3, 1, 4, 4, 1], "the library reads the same file"
    assert read_gguf_vocabulary(save(tmp_path / "b.gguf", template=None)).template == ""


@pytest.mark.parametrize("kept", [4, 30, 120])
def test_a_file_that_is_cut_off_is_one_clear_error(tmp_path: Path, kept: int) -> None:
    path = save(tmp_path / "a.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match=r"header of .* cannot be read"):
        read_gguf_vocabulary(path)
