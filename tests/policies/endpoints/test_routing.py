"""Sticky and least loaded: where a session's requests go."""

from __future__ import annotations

from collections import Counter

from warmline.policies.endpoints.notes import endpoint_of, without_endpoints
from warmline.policies.endpoints.routing import FACTOR, SPARE, Router

SERVERS = ("http://a/v1", "http://b/v1", "http://c/v1")
A, B, C = SERVERS


def test_a_session_stays_while_its_server_is_within_the_factor() -> None:
    router, loads = Router(), dict.fromkeys(SERVERS, 0.0)
    seat = router.choose("s", SERVERS, loads.__getitem__)
    others = [server for server in SERVERS if server != seat]
    loads |= dict.fromkeys(others, 10.0) | {seat: 10 * FACTOR + SPARE}
    assert router.choose("s", SERVERS, loads.__getitem__) == seat
    loads[seat] += 1
    loads[others[0]] = 9.0
    assert router.choose("s", SERVERS, loads.__getitem__) == others[0], "to the least loaded"
    loads = dict.fromkeys(SERVERS, 0.0)
    assert router.choose("s", SERVERS, loads.__getitem__) == others[0], "and sticky there"


def test_one_that_cannot_be_asked_is_left() -> None:
    router = Router()
    seat = router.choose("s", SERVERS, lambda _: 0)
    among = [server for server in SERVERS if server != seat]
    moved = router.choose("s", among, lambda _: 0)
    assert moved in among
    assert router.choose("s", SERVERS, lambda _: 0) == moved, "not back for its own sake"


def test_sessions_spread_also_while_nobody_has_anything_to_do() -> None:
    counts = Counter(Router().choose(f"s{n}", SERVERS, lambda _: 0) for n in range(3000))
    assert all(900 < counts[server] < 1100 for server in SERVERS)


def test_a_server_more_moves_only_the_sessions_that_it_takes() -> None:
    def seats(servers: tuple[str, ...]) -> list[str]:
        return [Router().choose(f"s{n}", servers, lambda _: 0) for n in range(500)]

    before, after = seats((A, B)), seats(SERVERS)
    assert {now for then, now in zip(before, after, strict=True) if now != then} == {C}


def test_requests_without_a_session_go_to_the_least_loaded() -> None:
    router, loads = Router(), Counter[str]()
    for _ in range(9):
        loads[router.choose("", SERVERS, loads.__getitem__)] += 1
    assert set(loads.values()) == {3}
    assert router.seat("") is None


def test_sessions_are_forgotten_from_the_longest_ago() -> None:
    router = Router(sessions=2)
    for session in ("a", "b", "a", "c"):
        router.choose(session, SERVERS, lambda _: 0)
    assert [router.seat(session) is not None for session in "abc"] == [True, False, True]


def test_notes_without_servers() -> None:
    said = {"endpoint": A, "moved": [{"from": B, "to": A, "because": "load"}]}
    assert endpoint_of({"openai": said}) == A
    assert endpoint_of(None) is endpoint_of({"openai": {"folded": ["system"]}}) is None
    assert without_endpoints({"openai": said}) is None
    kept = {"openai": {"not_sent": ["seed"]}}
    assert without_endpoints({"openai": {**said, "not_sent": ["seed"]}}) == kept
    nested = {"refine": {"drafts": [{"notes": {"openai": said}, "text": "x"}]}}
    assert without_endpoints(nested) == {"refine": {"drafts": [{"notes": None, "text": "x"}]}}
    for plain in (None, {}, {"other": {"endpoint": A}}, kept):
        assert without_endpoints(plain) == plain
