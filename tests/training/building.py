"""Conversations and tiny models for the tests of training; words are our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warmline.agents.roles import Role, Strategy
from warmline.environments.episodes.episode import Episode, StopReason, Utterance
from warmline.environments.scenarios.scenario import Scenario
from warmline.training.sft.settings import SftSettings

from ..policies.tiny_models import make_tokenizer

TEMPLATE = (
    "{% block system %}Help with {{ problem_type }}.{% endblock %}"
    "{% block note %}{% if strategy %}({{ strategy }}){% endif %}{% endblock %}"
)
"""A short supporter's prompt, for models with a context of 512 byte-like tokens."""

TALK = (
    ("I lost my job on Monday.", "What happened there?", Strategy.QUESTION),
    ("They closed the shop.", "You sound shaken by it.", Strategy.REFLECTION),
    ("I am, and I am scared.", "You have come far before.", Strategy.AFFIRMATION),
)


def episode(
    name: str = "a",
    talk: tuple[tuple[str, str, Strategy | None], ...] = TALK,
    *,
    situation: str = "not told",
    **fields: Any,
) -> Episode:
    """A recorded conversation of question and answer."""
    said = []
    for seeker, supporter, strategy in talk:
        said.append(Utterance(Role.SEEKER, seeker, seeker))
        said.append(Utterance(Role.SUPPORTER, supporter, supporter, strategy=strategy))
    return Episode(
        id=name,
        scenario=Scenario(id=name, problem_type="Job Crisis", situation=situation),
        stop=StopReason.RECORDED,
        utterances=tuple(said),
        source="test",
        **fields,
    )


def varied(count: int) -> list[Episode]:
    """Conversations of different lengths and words."""
    return [
        episode(
            f"talk{n}",
            tuple(
                (f"{seeker} It is day {n}." * (1 + n % 3), f"{supporter} Day {n}?", strategy)
                for seeker, supporter, strategy in TALK
            ),
        )
        for n in range(count)
    ]


def write_log(folder: Path, episodes: list[Episode]) -> Path:
    """A run's folder with a log."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(e.to_json() + "\n" for e in episodes)
    (folder / "episodes.jsonl").write_text(text, "utf-8")
    return folder


def settings(model: Path, data: Path, out: Path, **changed: Any) -> SftSettings:
    """Settings for tiny models on a CPU."""
    given: dict[str, Any] = {
        "model": str(model),
        "data": (str(data),),
        "out": str(out),
        "template": TEMPLATE,
        "dtype": "float32",
        "device": "cpu",
        "lora_targets": ("all-linear",),
        "learning_rate": 1e-2,
        "epochs": 2.0,
    }
    return SftSettings(**(given | changed))


LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = m.content + '\n\n' %}"
    "{% elif m.role == 'user' %}[INST] {{ (ns.system if loop.last else '') + m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's without a line break behind each turn, so that TRL's masks end where ours do."""

SMOLLM2 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Has no system role, and refuses messages that do not alternate."""

MISTRAL01 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)

BARE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + (
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def tokenizer(template: str | None, eos: str = "<|im_end|>", *control: str) -> Any:
    """A byte-level tokenizer with this chat template, end token and further control tokens."""
    made = make_tokenizer(chat_template=template)
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *control, eos]})
    made.eos_token = eos
    return made
