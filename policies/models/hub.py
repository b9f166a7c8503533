"""The Hugging Face hub, asked once whether it has a model.

Its libraries ask it for each file of a model again and again where it cannot be reached: half a
minute for a name that was only mistyped.
"""

from __future__ import annotations

from ...core.errors import ModelNotFound

SECONDS = 10.0
"""For the hub to answer."""


def ask_hub(named: str, *, revision: str | None = None, file: str = "config.json") -> None:
    """Find out whether a model on the hub can be had, before a library is told to fetch it.

    What lies in the hub's local cache is not asked for, nor anything with `HF_HUB_OFFLINE=1`. What
    else the hub may say (busy, no access, no such file) is left to the library.

    Args:
        named: id on the hub.
        revision: branch, tag or commit.
        file: one that the model must have.

    Raises:
        ModelNotFound: the hub cannot be reached, or knows no such model or revision.
    """
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.file_download import get_hf_file_metadata

    if constants.HF_HUB_OFFLINE:
        return
    if isinstance(try_to_load_from_cache(named, file, revision=revision), str):
        return
    url = hf_hub_url(named, file, revision=revision)
    try:
        get_hf_file_metadata(url, timeout=SECONDS)
    except (GatedRepoError, EntryNotFoundError):
        return
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" with the revision '{revision}'" if revision else ""
        raise ModelNotFound(
            f"there is no folder '{named}' here, and {constants.ENDPOINT} has no model of this name"
            f"{at}",
            hint="check the name; one that is private needs HF_TOKEN",
        ) from error
    except HfHubHTTPError:
        return
    except Exception as error:  # whatever HTTP library the hub's library uses raises its own
        raise ModelNotFound(
            f"there is no folder '{named}' here, and {constants.ENDPOINT} cannot be reached:"
            f" {error}",
            hint="check the name and the network; a model that was fetched before is found without"
            " it",
        ) from error
