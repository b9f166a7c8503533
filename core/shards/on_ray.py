"""Shards as actors of a Ray cluster.

Ray decides where an actor runs and tells when one is lost; leases and what is told go between driver
and actor as they do between processes. An actor that is lost is made anew with a file of its own: a
node that was only cut off may still write the old one. Where an actor does not see the run's folder,
what it makes goes through the driver.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingExtra, RunError
from .passing import dumps, error_text, loads
from .shard import ShardTask, run_shard
from .work import Made

POLL = 1.0
"""Seconds after which an actor answers though it has nothing to tell."""

TELL_AFTER = 0.05
"""Seconds for which facts are collected before they are told."""


class ActorChannel:
    """An actor's end of the connection; see `shard.Channel`.

    Args:
        whole: the driver writes what is made, so it is told whole.
    """

    def __init__(self, *, whole: bool) -> None:
        self.stopping = asyncio.Event()
        self._whole = whole
        self._answer: asyncio.Future[list[int]] | None = None
        self._facts: list[list[Any]] = []
        self._lines: list[str] = []
        self._others: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def lease(self, wanted: int) -> Sequence[int]:
        self._answer = asyncio.get_running_loop().create_future()
        self.tell({"ask": wanted})
        return await self._answer

    def done(self, unit: int, made: Made) -> None:
        self._facts.append([unit, made.name, made.end, made.failed, made.crashed, made.tokens])
        if self._whole:
            self._lines.append(made.line)
        self._news.set()

    def tell(self, message: dict[str, Any]) -> None:
        """Something else to be told."""
        self._others.append(message)
        self._news.set()

    def take(self, message: dict[str, Any]) -> None:
        """One message of the driver."""
        if message.get("stop"):
            self.stopping.set()
        if "lease" in message and self._answer is not None and not self._answer.done():
            self._answer.set_result(message["lease"])

    async def news(self) -> list[dict[str, Any]]:
        """What there is to tell, once there is something; nothing after `POLL` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._news.wait()
        if not self._others:
            await asyncio.sleep(TELL_AFTER)
        self._news.clear()
        told: list[dict[str, Any]] = []
        if self._facts:
            told.append({"done": self._facts, "lines": self._lines if self._whole else None})
        told += self._others
        self._facts, self._lines, self._others = [], [], []
        return told


class ShardActor:
    """A shard in an actor of Ray.

    Args:
        pickled: the driver's `sys.path` and its `ShardTask`, pickled.
        token: file of the driver that shows whether this node sees the run's folder.
    """

    def __init__(self, pickled: bytes, token: str) -> None:
        paths, task = loads(pickled)
        known = set(sys.path)
        sys.path += [path for path in paths if path not in known]
        self._task: ShardTask = loads(task)
        if not token or not os.access(token, os.R_OK | os.W_OK):
            self._task = replace(self._task, file=None, status=None)
        self._channel: ActorChannel | None = None
        self._playing: asyncio.Task[None] | None = None

    async def begin(self) -> bool:
        """Start; whether the driver has to write what is made."""
        whole = self._task.file is None
        self._channel = ActorChannel(whole=whole)
        self._playing = asyncio.create_task(self._play(self._channel))
        return whole

    async def _play(self, channel: ActorChannel) -> None:
        try:
            await run_shard(self._task, channel)
            channel.tell({"ended": True})
        except Exception as error:  # noqa: BLE001 - the driver raises it
            channel.tell({"failed": error_text(error)})

    async def take(self, message: dict[str, Any]) -> None:
        """One message of the driver."""
        if self._channel is not None:
            self._channel.take(message)

    async def news(self) -> list[dict[str, Any]]:
        """See `ActorChannel.news`."""
        return [] if self._channel is None else await self._channel.news()


class RayShard:
    """The driver's end of a shard that is an actor."""

    def __init__(self, actor: Any, group: Any = None) -> None:
        self._actor, self._group = actor, group
        self._heard: list[dict[str, Any]] = []
        self._how = "ended"

    async def begin(self) -> None:
        """Start it; if the actor is gone, the first `receive` says so."""
        import ray

        try:
            await self._actor.begin.remote()
        except ray.exceptions.RayActorError as error:
            self._how = str(error).strip().partition("\n")[0]

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message; if the actor is gone, `receive` says so."""
        self._actor.take.remote(message)

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None once the actor is gone."""
        import ray

        while not self._heard:
            try:
                self._heard = await self._actor.news.remote()
            except (ray.exceptions.RayActorError, ray.exceptions.RayTaskError) as error:
                self._how = str(error).strip().partition("\n")[0]
                return None
        return self._heard.pop(0)

    async def close(self) -> str:
        """End the actor; how it ended."""
        await self.kill()
        return self._how

    async def kill(self) -> None:
        """End the actor at once."""
        import ray

        with suppress(Exception):  # it is gone
            ray.kill(self._actor)
        _give_back(self._group)


class OnRay:
    """Starts shards as actors.

    Args:
        folder: the run's, for the file that shows whether a node sees it.
        address: of the cluster; None joins one that runs here, or starts one on this machine.
        cpus: that an actor takes.
        gpus: that an actor takes, all on one node.
        bundles: so many times these resources for each actor, in a placement group whose bundles may
            lie on several nodes; the actor is in the first, and what an engine starts for its tensor
            parallelism takes the others.
        through_driver: have the driver write everything, whatever the nodes see.

    Raises:
        MissingExtra: Ray is not installed.
        RunError: no cluster there, or one of another version of Ray or Python.
    """

    same_file = False

    def __init__(
        self,
        folder: Path,
        *,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        bundles: int = 1,
        through_driver: bool = False,
    ) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtra("--on ray", extra="ray") from error
        if cpus < 0 or gpus < 0 or bundles < 1:
            raise ConfigError(f"a worker takes no {bundles} times {cpus} CPUs and {gpus} GPUs")
        if bundles > 1 and not cpus and not gpus:
            raise ConfigError("bundles of nothing", hint="--ray.cpus or --ray.gpus of each")
        self._bundles = bundles
        self._needs = {"num_cpus": cpus, "num_gpus": gpus}
        self._token = "" if through_driver else str(folder / f"seen-{secrets.token_hex(4)}")
        if self._token:
            Path(self._token).touch()
        self._own = not ray.is_initialized()
        if self._own:
            _join(ray, address)

    def default_workers(self) -> int:
        """As many as the cluster has room for now."""
        import ray

        there = ray.cluster_resources()
        room = [
            there.get(name, 0.0) / needed / self._bundles
            for name, needed in (
                ("CPU", self._needs["num_cpus"]),
                ("GPU", self._needs["num_gpus"]),
            )
            if needed
        ]
        return max(1, int(min(room, default=1.0)))

    async def start(self, task: ShardTask) -> RayShard:
        """Make an actor; waits until the cluster has room for it.

        Raises:
            RunError: it cannot be made anywhere.
        """
        import ray

        pickled = dumps((list(sys.path), dumps(task)))
        group = await self._group()
        made = ray.remote(**self._needs, max_restarts=0)(ShardActor)
        shard = RayShard(
            made.options(scheduling_strategy=_in(group)).remote(pickled, self._token), group
        )
        try:
            await shard.begin()
        except asyncio.CancelledError:
            await shard.kill()
            raise
        return shard

    async def _group(self) -> Any:
        """A worker's placement group, once there is room for it; None where it has one bundle."""
        if self._bundles == 1:
            return None
        from ray.util.placement_group import placement_group

        needs = {"CPU": self._needs["num_cpus"], "GPU": self._needs["num_gpus"]}
        bundle = {name: count for name, count in needs.items() if count}
        group = placement_group([bundle] * self._bundles, strategy="PACK")
        try:
            await group.ready()
        except asyncio.CancelledError:
            _give_back(group)
            raise
        return group

    async def end(self) -> None:
        """Leave the cluster, if it was joined here."""
        import ray

        with suppress(OSError):
            os.unlink(self._token)  # noqa: PTH108 - nothing here waits for a disk
        if self._own:
            ray.shutdown()


def _in(group: Any) -> Any:
    """Where Ray places an actor: in the first bundle of a group, or wherever there is room."""
    if group is None:
        return "SPREAD"
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy(
        placement_group=group,
        placement_group_bundle_index=0,
        placement_group_capture_child_tasks=True,
    )


def _give_back(group: Any) -> None:
    """Remove a placement group, where there is one."""
    if group is not None:
        from ray.util.placement_group import remove_placement_group

        with suppress(Exception):  # the cluster is gone
            remove_placement_group(group)


def _join(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine."""
    quietly = {"logging_level": "ERROR", "log_to_driver": False, "include_dashboard": False}
    if address is None and not os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
        except ConnectionError:
            _start_here(ray, **quietly)
        except RuntimeError as error:
            raise _other_version(error) from error
        return
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise RunError(
            f"no Ray cluster at {address or os.environ.get('RAY_ADDRESS')}: {error}",
            hint="`ray status` on its head shows the address; without one, a cluster that runs on"
            " this machine is joined or one is started",
        ) from error
    except RuntimeError as error:
        raise _other_version(error) from error


def _start_here(ray: Any, **quietly: Any) -> None:
    try:
        ray.init(address="local", **quietly)
    except Exception as error:
        # Ray raises a bare Exception where a process of its own does not start in 30 seconds
        if type(error) is not Exception:
            raise
        raise RunError(
            f"Ray did not start on this machine: {error}",
            hint="its logs are in /tmp/ray/session_latest/logs; on a busy machine the same command may"
            " do better later, and --on local needs no Ray",
        ) from error


def _other_version(error: RuntimeError) -> RunError:
    return RunError(
        f"the Ray cluster refuses: {error}",
        hint="driver and cluster need the same versions of Ray and Python (`ray --version`,"
        " `python --version` on the head)",
    )
