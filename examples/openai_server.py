"""A server that speaks OpenAI's protocol in every seat: vLLM, llama.cpp, SGLang, Ollama, OpenAI.

    python examples/openai_server.py http://localhost:8000/v1 [MODEL]
    python examples/openai_server.py            # none at hand: a scripted one on this machine

The server's key, if it wants one, is read from the environment variable OPENAI_API_KEY.
Needs `pip install 'warmline[web]'`, which the scripted server is made of.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

import warmline
from warmline.environments.serving import serving


def stand_in(request: warmline.Request) -> str:
    """Answers where no server is given; the schema asks for one of the eight strategies."""
    if request.schema is not None:
        return '{"choice": "Question"}' if "Question" in str(request.schema) else '{"choice": "NO"}'
    return f"Go on, I am listening ({request.seed})."


def main(base_url: str | None, model: str | None) -> None:
    scripted = serving(warmline.ScriptedPolicy(stand_in))
    with nullcontext(base_url) if base_url else scripted as address:
        episodes = warmline.simulate(
            policy=warmline.OpenAIPolicy(model, base_url=address, max_concurrency=16),
            episodes=4,
            max_turns=6,
            seed=1,
        )
        for episode in episodes:
            print(episode.id, episode.stop, f"{episode.usage.total_tokens} tokens")
            print(episode.transcript())


if __name__ == "__main__":
    main(*[*sys.argv[1:3], None, None][:2])
