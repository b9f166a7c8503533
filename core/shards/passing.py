"""What passes between processes: pickled work, and errors with what they say."""

from __future__ import annotations

import base64
import pickle
import traceback
from typing import Any

from ..errors import ConfigError, RunError


def dumps(what: Any) -> bytes:
    """Something pickled; functions and classes of a script or a notebook by value.

    Raises:
        ConfigError: it holds what no other process can have (an open connection, a lock).
    """
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(what)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the work cannot be sent to other processes: {error}",
            hint="give settings, or policies that are not open yet and hold no connections",
        ) from error
    return pickled


def loads(pickled: bytes) -> Any:
    """What `dumps` pickled; only ever of this run's own processes."""
    return pickle.loads(pickled)  # noqa: S301


def error_text(error: BaseException) -> str:
    """An error, for `raised`."""
    told = "".join(traceback.format_exception(error))
    try:
        state = (type(error), error.args, vars(error), told)
        return base64.b64encode(dumps(state)).decode()
    except ConfigError:  # it holds something of its own process
        plain = (RunError, (f"{type(error).__name__}: {error}",), {"message": str(error)}, told)
        return base64.b64encode(dumps(plain)).decode()


def raised(text: str, where: str) -> BaseException:
    """The error that `error_text` wrote, with its traceback as a note."""
    kind, args, state, told = loads(base64.b64decode(text))
    error: BaseException = kind.__new__(kind, *args)
    vars(error).update({"hint": None, **state} if kind is RunError else state)
    error.args = args
    error.add_note(f"raised in {where}:\n{told}")
    return error
