"""What a server says it serves."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import ModelNotFound, did_you_mean


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of `GET /models`. `owner` distinguishes servers: `vllm`, `llamacpp`, `library`."""

    name: str
    owner: str


def not_served(base_url: str, model: str, served: list[ServedModel]) -> ModelNotFound:
    """The error for a model that is not among those served."""
    names = [entry.name for entry in served]
    return ModelNotFound(
        f"{base_url} serves no model '{model}'; it serves {shown_names(served)}",
        hint=did_you_mean(model, names) or "set model to one of these names",
    )


def shown_names(served: list[ServedModel]) -> str:
    """The names of the models that a server lists, the first twenty of them."""
    names = sorted(entry.name for entry in served)
    return ", ".join(f"'{name}'" for name in names[:20]) + (" …" if len(names) > 20 else "")
