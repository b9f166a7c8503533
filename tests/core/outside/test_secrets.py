"""Known secrets are hidden in everything written."""

import json
from pathlib import Path

import pytest

from warmline.core.claim import CONFIG_NAME, claim, claim_json
from warmline.core.errors import ConfigError, WarmlineError
from warmline.core.files import write_whole
from warmline.core.jsonl import LineLog
from warmline.core.outside.secrets import (
    hide_secrets,
    is_secret_name,
    register_secret,
    register_secrets_in,
    without_secrets,
)
from warmline.core.record import Record

KEY = 'sk-kept-"out"-4711'


@pytest.fixture(autouse=True)
def _known() -> None:
    register_secret(KEY)


def test_names_of_secrets() -> None:
    for name in ("api_key", "API-Key", "hf_token", "authorization", "password", "client_secret"):
        assert is_secret_name(name), name
    for name in ("api_key_env", "token_budget", "max_tokens", "eos_token", "tokenizer"):
        assert not is_secret_name(name), name
    assert without_secrets({"a": ({"api_key": "x"}, 1)}) == {"a": [{"api_key": "***"}, 1]}


def test_a_known_value_is_hidden_in_errors_logs_and_files(tmp_path: Path) -> None:
    error = WarmlineError(f"the server said {KEY}", hint=f"not {KEY}")
    assert str(error) == "the server said ***\n  hint: not ***"
    assert KEY not in repr(error)
    with LineLog(tmp_path / "log.jsonl") as log:
        log.write_line(json.dumps({"text": f"your key is {KEY}"}), "a line")
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"text": "your key is ***"}
    write_whole(tmp_path / "page.md", f"key {KEY}")
    assert (tmp_path / "page.md").read_text() == "key ***"


def test_a_claim_holds_no_secret_and_still_resumes(tmp_path: Path) -> None:
    register_secrets_in({"extra_body": [{"api_key": "value-of-the-body"}]})
    identity = {"body": {"api_key": "value-of-the-body"}, "said": "value-of-the-body"}
    settings = {"supporter": {"extra_body": {"api_key": "value-of-the-body"}, "api_key_env": "MY"}}
    for _ in range(2):
        claim(tmp_path, identity, {**settings, "policy": "openai:model=value-of-the-body"})
        claim_json(tmp_path / "identity.json", identity)
    for name in (CONFIG_NAME, "identity.json"):
        text = (tmp_path / name).read_text()
        assert "value-of-the-body" not in text
        assert "***" in text
    assert 'api_key_env = "MY"' in (tmp_path / CONFIG_NAME).read_text(), "a name is not a secret"


def test_a_refused_setting_does_not_show_a_secret() -> None:
    class Engine(Record):
        api_key: int

    class Settings(Record):
        engine: Engine

    with pytest.raises(ConfigError) as caught:
        Settings(engine={"api_key": "abcdefgh"})  # type: ignore[arg-type]
    assert "abcdefgh" not in str(caught.value)
    assert "engine.api_key" in str(caught.value)


def test_short_values_are_words_and_stay() -> None:
    register_secret("ab")
    assert hide_secrets("about") == "about"
