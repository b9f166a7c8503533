"""Several servers of one model as one policy: real local servers that die, return, fill up and drag."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.claim import OtherSettings
from warmline.core.errors import (
    AuthenticationFailed,
    ConfigError,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
)
from warmline.environments.runs.summary import Totals, summarize, totals_of
from warmline.policies.base import Reply, Request
from warmline.policies.doctor import examine
from warmline.policies.endpoints import addresses
from warmline.policies.endpoints.notes import endpoint_of
from warmline.policies.openai import pool as pool_module
from warmline.policies.openai.policy import OpenAIPolicy

from ...environments.helpers import scenarios
from ..chaos_server import ChaosServer, Fault, Refusal, conforming
from .asking import ASK, asking

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(addresses, "CHECK_EVERY", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


def of(session: str, **fields: Any) -> Request:
    return Request(messages=ASK.messages, seed=5, session=session, **fields)


def several(*servers: ChaosServer, **options: Any) -> Any:
    return asking(servers[0], base_url=[server.base_url for server in servers], **options)


def moves(reply: Reply) -> list[dict[str, str]]:
    said: list[dict[str, str]] = (reply.notes or {})["openai"].get("moved", [])
    return said


@contextmanager
def told(pattern: str) -> Iterator[None]:
    """Whether the block warns of something."""
    with pytest.warns(UserWarning, match=pattern):
        yield


async def until(done: Callable[[], bool], policy: OpenAIPolicy) -> None:
    """Ask on until something has happened."""
    for n in range(1000):
        if done():
            return
        await policy.respond(of(f"waiting{n}"))
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def test_sessions_spread_and_stay() -> None:
    async with ChaosServer() as a, ChaosServer() as b, ChaosServer() as c:
        async with several(a, b, c) as policy:
            for _ in range(4):
                for n in range(30):
                    reply = await policy.respond(of(f"s{n}/seeker"))
                    assert moves(reply) == []
        seats = [{r.headers["x-session-id"] for r in server.requests} for server in (a, b, c)]
    assert sum(map(len, seats)) == len(set.union(*seats)) == 30
    assert all(seats)


async def test_a_record_names_the_server_where_there_are_several() -> None:
    async with ChaosServer() as a, ChaosServer() as b:
        async with several(a, b) as policy:
            reply = await policy.respond(of("s/seeker"))
        assert endpoint_of(reply.notes) in (a.base_url, b.base_url)
        async with asking(a) as policy:
            assert (await policy.respond(of("s/seeker"))).notes is None


async def test_a_saturated_server_gives_sessions_away_and_they_stay_away(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.txt"
    async with (
        ChaosServer([Fault.OK] * 20 + [Fault.SLOW] * 99, delay=0.2) as a,
        ChaosServer([Fault.SLOW] * 99, delay=0.2) as b,
    ):
        file.write_text(a.base_url)
        async with asking(a, base_url=f"@{file}") as policy:
            for n in range(20):
                await policy.respond(of(f"s{n}"))
            file.write_text(f"{a.base_url}\n{b.base_url}\n")
            await until(lambda: bool(b.chats), policy)
            replies = await asyncio.gather(*(policy.respond(of(f"s{n}")) for n in range(20)))
            moved = [n for n, reply in enumerate(replies) if moves(reply)]
            assert {move["because"] for reply in replies for move in moves(reply)} == {"load"}
            assert 4 <= len(moved) <= 10, "what evens out the loads, not all"
            for n in moved[:3]:
                reply = await policy.respond(of(f"s{n}"))
                assert endpoint_of(reply.notes) == b.base_url
                assert moves(reply) == []


async def test_a_slow_server_gets_less() -> None:
    async with (
        ChaosServer([Fault.SLOW] * 999, delay=0.2) as slow,
        ChaosServer([Fault.SLOW] * 999, delay=0.01) as fast,
        several(slow, fast) as policy,
    ):
        names = iter(range(200))

        async def converse() -> None:
            for n in names:
                await policy.respond(of(f"s{n}"))

        await asyncio.gather(*(converse() for _ in range(8)))
        assert len(fast.chats) > 3 * len(slow.chats) > 0


async def test_a_server_that_is_killed_and_returns() -> None:
    a = ChaosServer([Fault.SLOW] * 999, delay=0.0)
    async with ChaosServer() as b, a, several(a, b, backoff=0.01) as policy:
        await policy.open()
        for n in range(12):
            await policy.respond(of(f"s{n}"))
        seats = [r.headers["x-session-id"] for r in a.requests if "x-session-id" in r.headers]
        seats = seats[:3]  # of more at once some would move for the load
        assert seats
        with told(f"{a.base_url}.*left out until it answers"):
            a.delay = 5.0
            flight = [asyncio.create_task(policy.respond(of(s))) for s in seats]
            while a.in_flight < len(seats):
                await asyncio.sleep(0.005)
            await a.__aexit__()
            a.delay = 0.0
            replies = await asyncio.gather(*flight)
        for reply in replies:
            assert endpoint_of(reply.notes) == b.base_url
            assert moves(reply) == [{"from": a.base_url, "to": b.base_url, "because": "failure"}]
            assert reply.attempts == 2
        later = [await policy.respond(of(s)) for s in seats]
        assert all(not moves(reply) and reply.attempts == 1 for reply in later)
        asked = len(a.chats)
        with told(f"{a.base_url} answers and takes part"):
            async with a:
                await until(lambda: len(a.chats) > asked, policy)
                again = [await policy.respond(of(s)) for s in seats]
        assert not any(map(moves, again)), "sticky where they went"


async def test_one_that_is_down_from_the_start_is_told_and_left_out() -> None:
    gone = ChaosServer()
    async with gone:
        pass
    async with ChaosServer() as b, several(gone, b) as policy:
        with told(f"cannot reach {gone.base_url}.*left out"):
            await policy.open()
        for n in range(20):
            reply = await policy.respond(of(f"s{n}"))
            assert endpoint_of(reply.notes) == b.base_url
            assert reply.attempts == 1
        assert policy.base_url == f"{gone.base_url} and 1 more"


async def test_one_that_hangs_holds_up_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client goes
        writer.close()

    monkeypatch.setattr(pool_module, "REACH_TIMEOUT", 0.5)
    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}/v1"
    async with ChaosServer() as b, hanging:
        policy = OpenAIPolicy(model="tiny", base_url=[address, b.base_url], timeout=60)
        with told(f"{address} listed no models within.*left out"):
            await asyncio.wait_for(policy.open(), 30)
        assert endpoint_of((await policy.respond(ASK)).notes) == b.base_url
        await policy.aclose()


async def test_where_none_answers() -> None:
    gone, too = ChaosServer(), ChaosServer()
    async with gone, too:
        pass
    async with several(gone, too, max_retries=2) as policy:
        with pytest.raises(
            EngineUnavailable, match=r"cannot reach .* none of the 2 servers answers"
        ):
            await policy.open()
        with pytest.raises(EngineUnavailable, match="cannot reach"):
            await policy.respond(ASK)


async def test_all_must_serve_the_model() -> None:
    async with ChaosServer() as a, ChaosServer(models=["other"]) as b:
        async with several(a, b) as policy:
            with pytest.raises(ModelNotFound, match=f"{b.base_url} serves no model 'tiny'"):
                await policy.open()
        unnamed = OpenAIPolicy(base_url=[a.base_url, b.base_url])
        with pytest.raises(ConfigError, match="no model is served by all") as caught:
            await unnamed.open()
        assert len(caught.value.problems) == 2
        await unnamed.aclose()
    async with ChaosServer(models=["x", "tiny"]) as a, ChaosServer(models=["tiny", "y"]) as b:
        unnamed = OpenAIPolicy(base_url=[a.base_url, b.base_url])
        async with unnamed:
            assert unnamed.model == "tiny"


async def test_a_wrong_key_at_one_stops() -> None:
    async with ChaosServer() as a, ChaosServer(key="k") as b, several(a, b) as policy:
        with pytest.raises(AuthenticationFailed, match=b.base_url):
            await policy.open()


async def test_a_list_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.txt"
    async with (
        ChaosServer() as a,
        ChaosServer() as b,
        ChaosServer(models=["other"]) as wrong,
    ):
        file.write_text(a.base_url)
        async with asking(a, base_url=f"@{file}", backoff=0.01) as policy:
            await policy.open()
            assert policy.endpoint_count == 1
            first = await policy.respond(of("s"))
            assert endpoint_of(first.notes) == a.base_url
            file.write_text(f"{a.base_url}\n{b.base_url}\n{wrong.base_url}\n")
            with told(f"{wrong.base_url} serves no model 'tiny'"):
                await until(lambda: bool(b.chats), policy)
                await until(lambda: bool(wrong.requests), policy)
                await asyncio.sleep(0.05)
            assert policy.endpoint_count == 3
            assert wrong.chats == []
            file.write_text(f"{b.base_url}\n")
            reply = await policy.respond(of("s"))
            assert moves(reply) == [{"from": a.base_url, "to": b.base_url, "because": "unlisted"}]
            asked = len(a.requests)
            for n in range(20):
                await policy.respond(of(f"t{n}"))
            assert len(a.requests) == asked
            file.write_text("nonsense\n")
            with told(r"endpoints\.txt, line 1"):
                assert endpoint_of((await policy.respond(of("s"))).notes) == b.base_url


async def test_limits_are_each_servers_own() -> None:
    plan = [Fault.SLOW] * 99
    async with (
        ChaosServer(plan, delay=0.02) as a,
        ChaosServer(plan, delay=0.02) as b,
        several(a, b, max_concurrency=3) as policy,
    ):
        await asyncio.gather(*(policy.respond(of(f"s{n}")) for n in range(40)))
        assert (a.most_in_flight, b.most_in_flight) == (3, 3)


async def test_a_busy_server_is_not_waited_for_while_another_is_free() -> None:
    busy = ChaosServer([Fault.RATE_LIMITED] * 99, retry_after={"retry-after": "60"})
    async with busy, ChaosServer() as free, several(busy, free) as policy:
        replies = await asyncio.wait_for(
            asyncio.gather(*(policy.respond(of(f"s{n}")) for n in range(10))), 10
        )
        assert {endpoint_of(reply.notes) for reply in replies} == {free.base_url}
        said = [move["because"] for reply in replies for move in moves(reply)]
        assert said
        assert set(said) == {"load"}


async def test_what_a_server_refuses_is_learned_of_that_server_alone() -> None:
    def no_seed(body: dict[str, Any]) -> Refusal | None:
        message = "Unsupported parameter: 'seed' is not supported with this model."
        fields = {"param": "seed", "code": "unsupported_parameter"}
        return Refusal(400, message, fields) if "seed" in body else None

    async with ChaosServer(refuse=no_seed) as a, ChaosServer() as b, several(a, b) as policy:
        replies = [await policy.respond(of(f"s{n}")) for n in range(20)]
        assert sum("seed" in body for body in a.chats) == 1
        assert all("seed" in body for body in b.chats)
        for reply in replies:
            left_out = (reply.notes or {})["openai"].get("not_sent")
            assert left_out == (["seed"] if endpoint_of(reply.notes) == a.base_url else None)
        assert not policy.capabilities.seed, "what holds for all"


async def test_a_server_that_keeps_failing_is_left_out() -> None:
    ill = ChaosServer([Fault.BROKEN] * 999)
    async with ill, ChaosServer() as well, several(ill, well) as policy:
        with told("answered 500.*left out"):
            for n in range(200):
                reply = await policy.respond(of(f"s{n}"))
                assert endpoint_of(reply.notes) == well.base_url
        assert pool_module.PATIENCE <= len(ill.chats) < 40


async def test_a_request_that_kills_servers_meets_no_more_than_its_retries() -> None:
    servers = [ChaosServer([Fault.DROP_BEFORE] * 99) for _ in range(6)]
    for server in servers:
        await server.__aenter__()
    async with several(*servers, max_retries=2) as policy:
        with pytest.raises(PolicyError):
            await policy.respond(of("s"))
    assert sum(len(server.chats) for server in servers) == 3
    for server in servers:
        await server.__aexit__()


# Runs


async def play(folder: Path, base_url: Any, count: int, model: str = "tiny") -> dict[str, Any]:
    policy = OpenAIPolicy(model, base_url=base_url, backoff=0.001)
    environment = warmline.SupportEnvironment(
        seeker=policy, supporter=policy, counselor=policy, judger=None, max_turns=4
    )
    async with environment:
        played = await warmline.run_batch(environment, scenarios(count), out=folder, seed=1)
    return {episode.id: episode.content() for episode in played}


async def test_a_run_is_the_same_on_other_servers_of_the_model(tmp_path: Path) -> None:
    async with ChaosServer() as a, ChaosServer() as b, ChaosServer() as c:
        both, file = [a.base_url, b.base_url], tmp_path / "endpoints.txt"
        file.write_text(f"{c.base_url}\n")
        other = await play(tmp_path / "other", f"@{file}", 6)
        await play(tmp_path / "run", both, 2)
        identity = (tmp_path / "run" / "config.toml").read_text()
        assert a.base_url not in identity
        await play(tmp_path / "run", f"@{file}", 4)
        assert await play(tmp_path / "run", [b.base_url, c.base_url], 6) == other
        assert await play(tmp_path / "run", a.base_url, 6) == {
            name: {**content, "config_hash": other[name]["config_hash"]}
            for name, content in other.items()
        }
        with pytest.raises(OtherSettings, match=r"seeker\.model: tiny -> another"):
            await play(tmp_path / "run", both, 6, model="another")


async def test_one_server_may_become_several_but_not_another_one(tmp_path: Path) -> None:
    async with ChaosServer() as a, ChaosServer() as b:
        await play(tmp_path, a.base_url, 1)
        with pytest.raises(OtherSettings, match="base_url"):
            await play(tmp_path, b.base_url, 2)
        await play(tmp_path, [a.base_url, b.base_url], 2)


async def test_the_summary_has_usage_by_server_and_moves(tmp_path: Path) -> None:
    async with ChaosServer() as a, ChaosServer([Fault.BROKEN]) as b:
        await play(tmp_path, [a.base_url, b.base_url], 8)
        summary = summarize(warmline.read_episodes(tmp_path))
        totals = totals_of(warmline.read_episodes(tmp_path))
        assert Totals.from_data(json.loads(json.dumps(totals.as_data()))).summary() == summary
        assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == 8
        used = summary["endpoints"]
        assert used.keys() == {a.base_url, b.base_url}
        calls = Counter({name: usage["calls"] for name, usage in used.items()})
        assert calls.total() == summary["usage"]["total"]["calls"]
        assert sum(u["prompt_tokens"] for u in used.values()) == 7 * calls.total()
        assert len(b.chats) in (calls[b.base_url] + 1, calls[b.base_url] + 2)
        assert summary.get("moves", {}).keys() <= {"failure"}
        await play(tmp_path / "one", a.base_url, 1)
        alone = summarize(warmline.read_episodes(tmp_path / "one"))
        assert not {"endpoints", "moves"} & alone.keys()


def test_a_settings_file_and_the_command_line_name_several(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('policy = "openai"\nmodel = "m"\nbase_url = ["http://a/v1", "http://b/v1"]\n')
    settings = warmline.environments.load_settings(file)
    environment = warmline.environments.build_environment(settings)
    assert environment.seeker.policy is environment.supporter.policy
    described = environment.seeker.policy.describe()  # type: ignore[attr-defined]
    assert described["base_url"] == "@endpoints"
    one = warmline.environments.load_settings(None, {"base_url": ["http://a/v1"]})
    assert one.base_url == "http://a/v1", "--base-url given once"
    with pytest.raises(ConfigError, match="empty list"):
        OpenAIPolicy("m", base_url=[])


async def test_doctor_looks_at_all(tmp_path: Path) -> None:
    async with ChaosServer() as a, ChaosServer(models=["tiny", "x"]) as b:
        file = tmp_path / "endpoints.txt"
        file.write_text(f"{a.base_url}\n{b.base_url}\n")
        whole = (await asyncio.to_thread(examine, f"@{file}"))[-3:]
        assert [finding.works for finding in whole] == [True] * 3
        assert whole[2].detail == "2 of 2 work; all that list their models serve tiny"
        gone = f"http://127.0.0.1:{a.port}/v1", "http://127.0.0.1:9/v1"
        ill = (await asyncio.to_thread(examine, gone))[-3:]
        assert [finding.works for finding in ill] == [True, False, False]
        assert "1 of 2 work" in ill[2].detail
    async with ChaosServer(answer=conforming) as a, ChaosServer(models=["x"]) as b:
        apart = (await asyncio.to_thread(examine, [a.base_url, b.base_url]))[-1]
        assert apart.works is False
        assert "no model in common" in apart.detail
