"""What a follower does with each answer of the log and each broadcast, in both languages, without a stack."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tests.packages.agents import RIGHTS
from tests.support import tools
from tests.support.schema import ROOT

sys.path.append(str(ROOT / "packages" / "follow-py"))

from threadline_follow import LogError
from threadline_follow import changes as follow_changes
from threadline_follow.changes import Handed
from threadline_follow.following import Following
from threadline_follow.log import Log, LogUnavailableError

CHANNEL, USER, INBOX, WORKSPACE, TWIN = "channel:c", "user:u", "inbox:u", "workspace:w", "twin:t"
NOW = 2**53 - 1


def event(seq: int, name: str = "message.created", **more: object) -> dict[str, Any]:
    return {"event": name, "payload": {"seq": seq, "prev_seq": seq - 1, **more}}


def page(*events: dict[str, Any], last: int = 0, **meta: object) -> dict[str, Any]:
    return {"data": {"data": list(events), "meta": {"last_seq": last, "has_more": False, **meta}}}


def changed(conversation: str, version: int, shown: int | None = None, **more: object) -> dict[str, Any]:
    state = {"id": conversation, "version": shown or version}
    return {"conversation_id": conversation, "version": version, "conversation": state, **more}


def changes(*found: dict[str, Any], cursor: str = "k1", more: bool = False) -> dict[str, Any]:
    return {"data": {"data": list(found), "meta": {"next_cursor": cursor, "has_more": more}}}


def broadcast(conversation: str, version: int) -> list[Any]:
    return ["conversation.changed", {"id": conversation, "conversation": {"id": conversation, "version": version}}]


def refused(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "No"}}


def sent(seq: int, name: str = "message.created", **more: object) -> list[Any]:
    return [name, event(seq, name, **more)["payload"]]


def log(since: int | None, name: str = "list_channel_events", **more: object) -> list[Any]:
    return [name, {**({"channel_id": "c"} if name == "list_channel_events" else {}), "since": since, **more}]


def inbox(since: str | None, **more: object) -> list[Any]:
    return ["list_inbox_changes", {**({"since": since} if since else {}), **more}]


def said(*seqs: int, name: str = "message.created") -> list[Any]:
    return [[name, seq] for seq in seqs]


JOINED, LOST, LIVE, RELOAD, OFFLINE = ["joined", None], ["lost", None], ["live"], ["reload"], ["offline"]
DEPARTURE = ["user_events", ["channel_id", "c"]]
TURN = "channel:c:1"
# name: topic, since, answers of the log, steps, what is said, what is asked, the number or cursor at the end
SCENARIOS: dict[str, tuple[Any, ...]] = {
    "pages": (
        CHANNEL, 0, [page(event(1), event(2), last=3, has_more=True), page(event(3), last=3)],
        [JOINED, sent(4), sent(4), sent(3), sent(5)],
        [*said(1, 2, 3), LIVE, *said(4, 5)], [log(0), log(2), log(3)], 5,
    ),
    "number": (CHANNEL, 7, [page(last=7)], [JOINED, sent(8)], [LIVE, *said(8)], [log(7), log(7)], 8),
    "gap": (
        CHANNEL, 0, [page(), page(), page(event(1), event(2), last=2)], [JOINED, sent(2)],
        [LIVE, *said(1, 2)], [log(0), log(0), log(0)], 2,
    ),
    "truncated": (
        CHANNEL, 0, [page(), page(), page(event(1), last=1)], [JOINED, sent(1, truncated=True)],
        [LIVE, *said(1)], [log(0), log(0), log(0)], 1,
    ),
    "incomplete": (
        CHANNEL, 2, [page(event(9), last=9, is_incomplete=True)], [], [RELOAD, *said(9)], [log(2)], 9,
    ),
    "restored": (CHANNEL, 9, [page(last=4), page(last=4)], [JOINED, sent(5)],
                 [RELOAD, LIVE, *said(5)], [log(9), log(4)], 5),
    "now": (CHANNEL, "now", [page(last=6), page(last=6)], [JOINED, sent(7)],
            [RELOAD, LIVE, *said(7)], [log(NOW), log(6)], 7),
    "user": (
        USER, 3, [page(event(4, "channel.deleted"), last=4)], [JOINED, sent(5, "channel.left")],
        [["channel.deleted", 4], LIVE, ["channel.left", 5]],
        [log(3, "list_user_events"), log(4, "list_user_events")], 5,
    ),
    "deleted": (
        CHANNEL, 0, [page(event(1), event(2, "channel.deleted"), event(3), last=3)], [],
        [*said(1), ["channel.deleted", 2], ["ended", "deleted"]], [log(0)], 2,
    ),
    "member left": (
        CHANNEL, 0, [page(), page()], [JOINED, sent(1, "member.left")],
        [LIVE, ["member.left", 1]], [log(0), log(0), log(1)], 1,
    ),
    "left": (
        CHANNEL, 0, [refused("PT404"), {"data": [{"kind": "channel.left", "created_at": "t"}]}], [],
        [["channel.left", None], ["ended", "left"]], [log(0), DEPARTURE], 0,
    ),
    "gone": (CHANNEL, 0, [refused("PT404"), {"data": []}], [], [["ended", "gone"]], [log(0), DEPARTURE], 0),
    "wrong": (CHANNEL, 0, [refused("PT400")], [], [["ended", "failed"]], [log(0)], 0),
    "away": (
        CHANNEL, 0, [refused("PT500"), page(event(1), last=1)], [JOINED, LOST],
        [OFFLINE, *said(1), LIVE, OFFLINE], None, 1,
    ),
    "away from now": (
        CHANNEL, "now", [refused("PT500"), page(last=3)], [JOINED],
        [OFFLINE, RELOAD, LIVE], [log(NOW), log(NOW), log(3)], 3,
    ),
    "inbox": (
        INBOX, 0, [changes(), changes(changed("a", 1), changed("b", 2), cursor="k2")],
        [JOINED, broadcast("a", 1), broadcast("a", 2), broadcast("b", 2), *[broadcast("c", 7)] * 2],
        [RELOAD, ["conversation.changed", "a"], ["conversation.changed", "b"], LIVE,
         ["conversation.changed", "a"], ["conversation.changed", "c"]],
        [inbox(None), inbox("k1")], "k2",
    ),
    "inbox gap": (
        INBOX, "k0", [changes(changed("a", 1)), changes(cursor="k2"),
                      changes(changed("a", 1), changed("a", 2, 3), changed("a", 3), cursor="k3")],
        [JOINED, broadcast("a", 3)],
        [["conversation.changed", "a"], LIVE, *[["conversation.changed", "a"]] * 2],
        [inbox("k0"), inbox("k1"), inbox("k2")], "k3",
    ),
    "inbox pages": (
        INBOX, "k0", [changes(changed("a", 1), more=True), changes(changed("b", 1, deleted=True), cursor="k2")], [],
        [["conversation.changed", "a"], ["conversation.changed", "b"]], [inbox("k0"), inbox("k1")], "k2",
    ),
    "inbox restored": (
        INBOX, "k9", [refused("PT409"), changes(cursor="k1")], [], [RELOAD], [inbox("k9"), inbox(None)], "k1",
    ),
    "inbox restored later": (
        INBOX, "k0", [changes(changed("a", 1)), refused("PT409"), changes(cursor="k5"),
                      changes(changed("a", 1), cursor="k6")],
        [JOINED, JOINED], [["conversation.changed", "a"], RELOAD, LIVE, ["conversation.changed", "a"]],
        [inbox("k0"), inbox("k1"), inbox(None), inbox("k5")], "k6",
    ),
    "inbox oversized": (
        INBOX, "k0", [changes(), changes(cursor="k2")],
        [JOINED, ["conversation.changed", {**broadcast("a", 1)[1], "truncated": True}]],
        [LIVE, ["conversation.changed", "a"]], [inbox("k0"), inbox("k1")], "k2",
    ),
    "inbox now": (INBOX, "now", [changes()], [], [RELOAD], [inbox(None)], "k1"),
    "workspace": (WORKSPACE, "k0", [changes()], [], [], [inbox("k0", workspace_id="w")], "k1"),
    "workspace sealed": (
        WORKSPACE, "k0", [changes(), changes(cursor="k2"), changes(changed("a", 1), cursor="k3")],
        [JOINED, ["conversation.changed", {"conversation_id": "a", "truncated": True}]],
        [LIVE, ["conversation.changed", "a"]], [inbox(each, workspace_id="w") for each in ("k0", "k1", "k2")], "k3",
    ),
    "twin": (
        TWIN, 0, [], [JOINED, ["twin.changed", {"id": "a"}], LOST, JOINED],
        [RELOAD, LIVE, ["twin.changed", "a"], OFFLINE, RELOAD, LIVE], [], None,
    ),
    "twin sealed": (
        TWIN, 0, [], [JOINED, ["twin.changed", {"id": "a", "truncated": True}]],
        [RELOAD, LIVE, ["twin.changed", "a"]], [], None,
    ),
    "turn stays": (
        CHANNEL, 0, [page(), page(), page()],
        [JOINED, sent(1, truncated=True, topic=TURN), ["turn joined", None], ["turn message.created", sent(1)[1]],
         ["turn message.created", sent(2)[1]], sent(2, truncated=True, topic=TURN), sent(2)],
        [LIVE, *said(1, 2)], None, 2,
    ),
    "turn": (
        CHANNEL, 0, [page(), page()],
        [JOINED, sent(1, truncated=True, topic=TURN), ["turn joined", None], ["turn message.created", sent(1)[1]],
         sent(2, truncated=True, topic=TURN), ["turn message.created", sent(2)[1]], sent(3)],
        [LIVE, *said(1, 2, 3)], None, 3,
    ),
    "turn of another": (
        CHANNEL, 0, [page(), page()], [JOINED, sent(1, truncated=True, topic="channel:d:1")], [LIVE], None, 0,
    ),
}  # fmt: skip
# The cursor while each change is handled: it moves on behind the last one of a page.
CURSORS = {"inbox": ["k1", "k1", "k2", "k2"], "inbox gap": ["k0", "k2", "k2"], "inbox pages": ["k0", "k1"]}
HANDED: list[tuple[str, dict[str, Any], object]] = [
    ("isOld", {"id": "a", "version": 1}, False),
    ("isNext", {"id": "a", "version": 9}, True),
    ("addBroadcast", {"id": "a", "version": 3}, None),
    ("isOld", {"id": "a", "version": 3}, True),
    ("isOld", {"id": "a", "version": 4}, False),
    ("isNext", {"id": "a", "version": 4}, True),
    ("isNext", {"id": "a", "version": 5}, False),
    ("isNext", {"id": "b", "version": 5}, True),
    ("has", changed("a", 3), True),
    ("has", changed("b", 3), False),
    ("add", changed("a", 4, 8), None),
    ("has", changed("a", 4), True),
    ("isNext", {"id": "a", "version": 5}, False),
    ("add", changed("a", 2), None),
    ("isOld", {"id": "a", "version": 4}, True),
    ("add", {"conversation_id": "a", "deleted": True}, None),
    ("has", {"conversation_id": "a", "deleted": True}, True),
    ("isOld", {"id": "a", "version": 5}, False),
    ("add", {"conversation_id": "c"}, None),
    ("has", {"conversation_id": "c"}, False),
    ("add", {"conversation_id": "d", "version": 2}, None),
    ("isNext", {"id": "d", "version": 3}, True),
    ("clear", {}, None),
    ("has", changed("a", 3), False),
    ("isOld", {"id": "a", "version": 1}, False),
]


class Turns:
    """Stands for the topic on Realtime."""

    def __init__(self) -> None:
        self.turn_name: str | None = None
        self.is_on_turn = False
        self.left = 0

    async def stay(self) -> None:
        await asyncio.Event().wait()

    async def leave(self) -> None:
        pass

    def take_turn(self, name: str) -> None:
        if name.startswith("channel:c:"):
            self.turn_name = name

    def leave_turn(self) -> None:
        self.turn_name, self.is_on_turn = None, False
        self.left += 1


async def run(topic: str, since: int | str, answers: list[Any], steps: list[list[Any]]) -> dict[str, Any]:
    said: list[Any] = []
    asked: list[Any] = []
    cursors: list[str | None] = []
    left = list(answers)

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            about = dict(request.url.params)
            asked.append(["user_events", ["channel_id", about.pop("channel_id").removeprefix("eq.")]])
            assert about == {
                "select": "kind,created_at", "kind": "in.(channel.deleted,channel.left)", "order": "seq.desc",
                "limit": "1",
            }  # fmt: skip
        else:
            asked.append([request.url.path.rpartition("/")[2], json.loads(request.content)])
        answer = left.pop(0) if left else page(last=10**6)
        return (
            httpx.Response(400, json=answer["error"]) if "error" in answer else httpx.Response(200, json=answer["data"])
        )

    following = Following(
        "http://x", "key", "token", topic, since, lambda state, _: said.append([state]), check_seconds=30
    )
    following._topic = turns = Turns()
    if following._log:
        following._log._client = httpx.AsyncClient(base_url="http://x", transport=httpx.MockTransport(respond))

    async def listen() -> None:
        async with following as events:
            async for found in events:
                about = found.payload
                key = about.get("seq") or about.get("conversation_id") or about.get("id")
                said.append([found.name, key])
                cursors.append(following.cursor)

    async def settle() -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    task = asyncio.create_task(listen())
    await settle()
    for step, payload in steps:
        if step == "joined":
            following.joined()
        elif step == "turn joined":
            turns.is_on_turn = True
            following.joined()
        elif step == "lost":
            following.lost(None)
        else:
            following.received(step.removeprefix("turn "), payload, is_turn=step.startswith("turn"))
        await settle()
    task.cancel()
    try:
        await task
    except LogError:
        said.append(["ended", "failed"])
    except asyncio.CancelledError:
        pass
    if following.reason:
        said[-1].append(following.reason)
    end = {"seq": following.seq, "cursor": following.cursor, "turn": turns.turn_name, "left": turns.left}
    return {"said": said, "asked": asked, "cursors": cursors, **end}


@pytest.mark.parametrize("name", SCENARIOS)
def test_python_follower_does_what_the_answers_ask_for(name: str) -> None:
    topic, since, answers, steps, said, asked, end = SCENARIOS[name]
    found = asyncio.run(run(topic, since, answers, steps))
    assert found["said"] == said
    assert asked is None or found["asked"] == asked
    assert (found["cursor"] if topic in (INBOX, WORKSPACE) else found["seq"]) == (end or 0)
    assert (found["turn"], found["left"]) == ((TURN, 0) if name == "turn stays" else (None, name == "turn"))
    assert found["cursors"] == CURSORS.get(name, found["cursors"])


def test_python_takes_an_answer_that_is_no_json_for_an_outage() -> None:
    log = Log("http://x", "key", "token", "c")
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    log._client = httpx.AsyncClient(base_url="http://x", transport=page)
    with pytest.raises(LogUnavailableError):
        asyncio.run(log.read(0))


def test_python_forgets_the_oldest_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_changes, "MAX_NAMES", 2)
    handed = Handed()
    for version in (1, 2, 3):
        handed.add(changed("a", version))
    assert [handed.has(changed("a", version)) for version in (1, 2, 3)] == [False, True, True]


NAMES = {"isOld": "is_old", "isNext": "is_next", "addBroadcast": "add_broadcast"}


def test_python_waits_briefly_again_after_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    answers = iter([503, 503, 200, 503])

    async def wait_for(waiting: Any, seconds: float) -> None:
        waiting.close()
        waits.append(seconds)
        raise TimeoutError

    async def ask() -> None:
        following = Following("http://x", "key", "token", CHANNEL, 0, None, check_seconds=30)
        assert following._log
        transport = httpx.MockTransport(lambda _: httpx.Response(next(answers), json=page()["data"]))
        following._log._client = httpx.AsyncClient(base_url="http://x", transport=transport)
        monkeypatch.setattr(asyncio, "wait_for", wait_for)
        for _ in range(4):
            await following._ask(0)

    asyncio.run(ask())
    assert waits == [1, 2, 1]


def test_python_remembers_which_changes_were_handed_over() -> None:
    handed = Handed()
    found = [getattr(handed, NAMES.get(name, name))(*([given] if given else [])) for name, given, _ in HANDED]
    assert found == [right for _, _, right in HANDED]


@pytest.fixture(scope="module")
def javascript() -> dict[str, Any]:
    """What the JavaScript does with all of it, in one process."""
    if tools.deno() is None:
        pytest.skip(tools.why_not("deno"))
    scenarios = [
        # A page may keep the number of the last event as a text.
        {"topic": topic, "since": str(since) if name == "number" else since, "log": answers, "steps": steps}
        for name, (topic, since, answers, steps, *_) in SCENARIOS.items()
    ]
    script = ROOT / "tests" / "packages" / "scenarios.ts"
    command = [
        str(tools.deno()),
        "run",
        "--quiet",
        "--no-check",
        "--no-lock",
        "--no-config",
        *RIGHTS,
        str(script),
        str(ROOT),
    ]
    given = json.dumps({"scenarios": scenarios, "changes": [[name, about] for name, about, _ in HANDED]})
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {**found, "scenarios": dict(zip(SCENARIOS, found["scenarios"], strict=True))}


@pytest.mark.parametrize("name", SCENARIOS)
def test_javascript_follower_does_what_the_answers_ask_for(javascript: dict[str, Any], name: str) -> None:
    topic, _, _, _, said, asked, end = SCENARIOS[name]
    found = javascript["scenarios"][name]
    assert found["said"] == said
    calls = [each for each in found["asked"] if each[0] not in {"join", "leave"}]
    assert asked is None or calls == asked
    assert (found["cursor"] if topic in (INBOX, WORKSPACE) else found["seq"]) == (end or 0)
    assert found["cursors"] == CURSORS.get(name, found["cursors"])
    assert found["last"] == ([] if said[-1:] and said[-1][0] == "ended" else [["ended", "stopped"]])
    assert found["unfinished"] == 0
    turns = [each for each in found["asked"] if each[0] in {"join", "leave"} and each[1] != topic]
    assert turns == {"turn": [["join", TURN], ["leave", TURN]], "turn stays": [["join", TURN]]}.get(name, [])


def test_javascript_remembers_which_changes_were_handed_over(javascript: dict[str, Any]) -> None:
    assert javascript["changes"] == [right for _, _, right in HANDED]


CLOSED = ["a lost undefined false", "b lost undefined false"]
JOINS = [
    ["first", ["auth"], []],
    ["subscribed", [], [3000]],
    ["ready", ["a joined"], []],
    ["second", ["b joined"], []],
    ["broadcast", ["a e", "b e"], []],
    ["refused", ["a lost no true", "b lost no true"], [500]],
    ["again", ["remove", "auth"], []],
    *[["closed", CLOSED, [seconds * 1000]] for seconds in (1, 2, 3, 3)],
    ["late", ["a joined", "b joined"], []],
    ["steady", CLOSED, [500]],
    ["limit", ["a lost Too many joins true", "b lost Too many joins true"], [20_000]],
    ["after the limit", CLOSED, [2000]],
    ["system limit", [], []],
    ["after it", ["a lost undefined true", "b lost undefined true"], [20_000]],
    ["offline", ["a lost cut false", "b lost cut false", "auth"], []],
    ["subscribed again", [], [3000]],
    ["without a sign", ["a joined", "b joined"], []],
    ["old channel", [], []],
    ["one leaves", [], []],
    ["both have left", ["remove"], []],
    ["broadcast to none", [], []],
    ["left at once", ["auth"], []],
    ["a new one", ["auth"], []],
]


def test_javascript_joins_again_after_a_pause(javascript: dict[str, Any]) -> None:
    joins = javascript["joins"]
    assert joins["steps"] == JOINS
    assert joins["config"] == {"private": True, "broadcast": {"replication_ready": True}}
    assert (joins["name"], joins["channels"]) == ("user:u", 11)
