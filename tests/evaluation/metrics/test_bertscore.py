"""BERTScore over a tiny encoder made here: the library's number, named with model and layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmline.core.errors import ConfigError
from warmline.evaluation.metrics.bertscore import BertScore
from warmline.evaluation.metrics.metric import make_pairs


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "hear", "you", "what", "happened", "then"]
    core = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    ).save_pretrained(str(folder))  # fmt: skip
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=len(names), hidden_size=16, num_hidden_layers=2,
                   num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)
    ).save_pretrained(str(folder))  # fmt: skip
    return folder


def test_equal_texts_score_full_and_the_layer_is_named(encoder: Path) -> None:
    (same,) = BertScore(encoder, layer=2).measure(make_pairs(["i hear you"], ["i hear you"]))
    (other,) = BertScore(encoder, layer=2).measure(
        make_pairs(["i hear you", "i hear you"], ["i hear you", "what happened then"])
    )
    assert same.value.value == pytest.approx(100, abs=1e-3)
    assert other.value.value < 99
    assert f"{encoder.name} layer 2" in same.convention


def test_what_it_cannot_use_is_said(encoder: Path, tmp_path: Path) -> None:
    pairs = make_pairs(["i"], ["i"])
    with pytest.raises(ConfigError, match="which layer"):
        BertScore(encoder).measure(pairs)
    with pytest.raises(ConfigError, match="layer 9"):
        BertScore(encoder, layer=9).measure(pairs)
    with pytest.raises(ConfigError, match="cannot use"):
        BertScore(tmp_path, layer=1).measure(pairs)
