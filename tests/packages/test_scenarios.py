"""What a follower does with each answer of the log and each broadcast, in both languages, without a stack."""

import asyncio
import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.packages.agents import RIGHTS
from tests.support import tools
from tests.support.schema import ROOT

sys.path.append(str(ROOT / "packages" / "follow-py"))

from threadline_follow import LogError, follow, following
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
        CHANNEL, 0, [page(), page(), page(event(1), last=1)], [JOINED, sent(1, truncated=True), ["wait", 1]],
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
        CHANNEL, 0, [page(event(1), event(2, "channel.deleted"), event(3), last=3, has_more=True)], [],
        [*said(1), ["channel.deleted", 2], ["ended", "deleted"]], [log(0)], 2,
    ),
    "member left": (
        CHANNEL, 0, [page(), page()], [JOINED, sent(1, "member.left")],
        [LIVE, ["member.left", 1]], [log(0), log(0), log(1)], 1,
    ),
    "left": (
        CHANNEL, 0, [refused("PT404"), {"data": [{"kind": "channel.left", "created_at": "t"}]}], [],
        [["channel.left", "c t"], ["ended", "left"]], [log(0), DEPARTURE], 0,
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
        TWIN, 0, [], [JOINED, ["twin.changed", {"id": "a", "truncated": True, "topic": "twin:t:1"}]],
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
    "pauses": (
        CHANNEL, 0, [*[refused("PT500")] * 5, page(event(1), last=1)],
        [["wait", seconds] for seconds in (1, 1, 1, 4, 1, 9, 1, 9, 1)], [OFFLINE, *said(1)], None, 1,
    ),
    "short pause": (
        CHANNEL, 0, [*[refused("PT500")] * 2, page(event(1), last=1, has_more=True), refused("PT500"),
                     page(event(2), last=2)],
        [["wait", 1], ["wait", 2], ["wait", 1]], [OFFLINE, *said(1, 2)], None, 2,
    ),
    "check": (
        CHANNEL, 0, [page(), page(), page(event(1), last=1), page(event(2), last=2)],
        [JOINED, ["wait", 29], ["wait", 1], ["wait", 29], ["wait", 1]], [LIVE, *said(1, 2)], None, 2,
    ),
    "checked": (
        CHANNEL, 0, [page()] * 9, [JOINED, ["wait", 20], JOINED, ["wait", 29], ["wait", 1]], [LIVE], None, 0,
    ),
    "joined in a read": (
        CHANNEL, 0, [{**page(), "takes": 1}, page(event(1), last=1)], [JOINED, ["wait", 1]], [*said(1), LIVE],
        [log(0)] * 2, 1,
    ),
    "joined before the end is found": (
        CHANNEL, "now", [{**page(last=6), "takes": 1}, page(event(7), last=7)], [JOINED, ["wait", 1]],
        [RELOAD, *said(7), LIVE], [log(NOW), log(6)], 7,
    ),
    "inbox joined in a read": (
        INBOX, "k0", [{**changes(), "takes": 1}, changes(changed("a", 1), cursor="k2"), changes(cursor="k2")],
        [JOINED, ["wait", 1]],
        [["conversation.changed", "a"], LIVE], None, "k2",
    ),
    "gone in an outage": (
        CHANNEL, 0, [refused("PT404"), refused("PT500")], [], [["ended", "gone"]], [log(0), DEPARTURE], 0,
    ),
    "now in an outage": (
        CHANNEL, "now", [refused("PT500"), page(last=3)], [["wait", 1]], [OFFLINE, RELOAD], [log(NOW)] * 2, 3,
    ),
    "gap in an outage": (
        CHANNEL, 0, [page(), page(), refused("PT500"), page(event(1), event(2), last=2)],
        [JOINED, sent(2), ["wait", 0], ["wait", 1]], [LIVE, OFFLINE, *said(1, 2), LIVE], None, 2,
    ),
    "twin check": (TWIN, 0, [], [JOINED, ["wait", 31]], [RELOAD, LIVE], [], None),
    "twin many": (
        TWIN, 0, [], [JOINED, ["many", 600]], [RELOAD, LIVE, *[["twin.changed", each + 1] for each in range(600)]],
        [], None,
    ),
    "many": (
        CHANNEL, 0, [page(), page(), page(event(1), event(2), last=2), page(event(2), last=2)],
        [JOINED, ["many", 502]], [LIVE, *said(1, 2)], None, 2,
    ),
    "inbox held": (
        INBOX, "k0", [changes(), changes(), changes(changed("a", 1)), changes(), changes(changed("a", 2))],
        [JOINED, ["wait", 1], broadcast("a", 3), ["wait", 1]],
        [LIVE, *[["conversation.changed", "a"]] * 2], None, "k1",
    ),
    "workspace sealed later": (
        WORKSPACE, "k0", [changes(), changes(), changes(), changes(), changes(changed("a", 1))],
        [JOINED, ["wait", 1], ["conversation.changed", {"conversation_id": "a", "truncated": True}], ["wait", 1]],
        [LIVE, ["conversation.changed", "a"]], None, "k1",
    ),
    "turn is late": (
        CHANNEL, 0, [page(), page(), page(), page(event(1), last=1), page(event(2), last=2)],
        [JOINED, sent(1, truncated=True, topic=TURN), ["turn joined", None],
         sent(2, truncated=True, topic=TURN), ["wait", 1], ["turn message.created", sent(3)[1]],
         sent(3, truncated=True, topic=TURN), ["wait", 1]],
        [LIVE, *said(1, 2, 3)], None, 3,
    ),
    "sleep": (CHANNEL, 0, [page(), page()], [JOINED, ["sleep", 14], ["sleep", 16]], [LIVE], None, 0),
    "two losses": (
        USER, 0, [page(), page(), page(), page(event(1), last=1), page(last=1)],
        [JOINED, LOST, JOINED, LOST], [LIVE, OFFLINE, *said(1), LIVE, OFFLINE],
        [*[log(0, "list_user_events")] * 4, log(1, "list_user_events")], 1,
    ),
    "turn of another": (
        CHANNEL, 0, [page(), page()], [JOINED, sent(1, truncated=True, topic="channel:d:1")], [LIVE], None, 0,
    ),
}  # fmt: skip
# The cursor while each change is handled: it moves on behind the last one of a page.
CURSORS = {"inbox": ["k1", "k1", "k2", "k2"], "inbox gap": ["k0", "k2", "k2"], "inbox pages": ["k0", "k1"]}
ONLINE, FAILED = ["tell", "online"], ["ended", "failed"]
SEALED = [sent(1, truncated=True, topic=TURN), ["turn joined", None]]
# Only in JavaScript: topic, answers, steps, what fails, what is said, what else is found
PAGES: dict[str, tuple[Any, ...]] = {
    "online": (CHANNEL, [page(), page(), page(event(1), last=1)], [JOINED, ONLINE], None,
               [LIVE, *said(1)], {"radio": ["heartbeat"]}),
    "heard": (CHANNEL, [page()] * 3, [JOINED, ONLINE, ["heard", None], ["wait", 5]], None,
              [LIVE], {"radio": ["heartbeat"]}),
    "not heard": (CHANNEL, [page()] * 4, [JOINED, ONLINE, ["wait", 4], ONLINE, ["wait", 1]], None,
                  [LIVE], {"radio": ["heartbeat"] * 2}),
    "hidden": (CHANNEL, [page()] * 4,
               [JOINED, ["visibility", "hidden"], ["tell", "visibilitychange"], ["wait", 0],
                ["visibility", "visible"], ["tell", "visibilitychange"], ["wait", 0]], None,
               [LIVE], {"counts": [2, 3], "radio": ["heartbeat"]}),
    "offline": (CHANNEL, [page()] * 2, [JOINED, ["tell", "offline"]], None, [LIVE, OFFLINE], {"radio": []}),
    "away": (CHANNEL, [page()] * 3, [JOINED, ["connection", "away"], ONLINE], None,
             [LIVE], {"radio": ["disconnect", "connect"]}),
    "connecting": (CHANNEL, [page()] * 3, [JOINED, ["connection", "coming"], ONLINE], None, [LIVE], {"radio": []}),
    "ending": (CHANNEL, [page()] * 3, [JOINED, ["connection", "going"], ONLINE], None, [LIVE], {"radio": []}),
    "twin": (TWIN, [], [JOINED, ONLINE, ["wait", 2]], None, [RELOAD, LIVE], {"radio": ["heartbeat"]}),
    "checked": (CHANNEL, [page()] * 9, [JOINED, ["wait", 20], ONLINE, ["wait", 29], ["wait", 1]], None,
                [LIVE], {"counts": [2, 3, 4]}),
    "failing handler": (CHANNEL, [page(event(1), event(2), event(3), last=3)], [], 2,
                        [*said(1), FAILED], {"errors": ["The handler failed."], "seq": 1}),
    "failing state": (CHANNEL, [page()] * 2, [JOINED], "live", [LIVE, FAILED], {"errors": ["The handler failed."]}),
    "stopped": (INBOX, [changes(), changes(changed("a", 1), changed("b", 1))], [JOINED], "a",
                [RELOAD, ["conversation.changed", "a"], ["ended", "stopped"]], {}),
    "held": (INBOX, [changes()] * 3, [JOINED, ["sleep", 0.9], ["wait", 0], ["sleep", 0.1], ["wait", 0]], None,
             [RELOAD, LIVE], {"counts": [2, 3]}),
    "stopped before a read": (INBOX, [changes(), changes(changed("a", 1))], [JOINED, ["wait", 1]], "a",
                              [RELOAD, ["conversation.changed", "a"], ["ended", "stopped"]], {"counts": [2]}),
    "no token": (CHANNEL, [{"thrown": "No token"}, page(event(1), last=1)], [["wait", 1]], None,
                 [OFFLINE, *said(1)], {"errors": ["No token"]}),
    "slow refusal": (CHANNEL, [{**refused("PT500"), "takes": 0.6}, page()],
                     [["sleep", 0.6], ["sleep", 0.3], ["wait", 0], ["sleep", 0.1], ["wait", 0]], None,
                     [OFFLINE], {"counts": [1, 2]}),
    "member left in a page": (CHANNEL, [page(event(1, "member.left"), last=1), page(last=1)], [["wait", 0]], None,
                              [["member.left", 1]], {"counts": [2]}),
    "next turn": (CHANNEL, [page()] * 9, [JOINED, *SEALED, sent(1, truncated=True, topic="channel:c:2")], None,
                  [LIVE], {"turns": ["join:c", "join:1", "leave:1", "join:2"]}),
    "sealed again": (CHANNEL, [page()] * 9, [JOINED, *SEALED, sent(2), sent(3, truncated=True, topic=TURN)], None,
                     [LIVE], {"turns": ["join:c", "join:1", "leave:1", "join:1"]}),
    "refused turn": (CHANNEL, [page()] * 9, [JOINED, *SEALED, ["turn refused", None]], None,
                     [LIVE], {"turns": ["join:c", "join:1", "leave:1"]}),
    "closed turn": (CHANNEL, [page()] * 9,
                    [JOINED, *SEALED, ["wait", 0], ["turn closed", None], sent(1, truncated=True, topic=TURN),
                     ["wait", 0]], None, [LIVE], {"turns": ["join:c", "join:1"], "counts": [4, 5]}),
}  # fmt: skip
# How many requests there were after each wait.
COUNTS = {
    "truncated": [3],
    "pauses": [2, 2, 3, 3, 4, 4, 5, 5, 6],
    "short pause": [2, 4, 5],
    "check": [2, 3, 3, 4],
    "checked": [2, 3, 4],
    "gap in an outage": [3, 4],
    "twin check": [0],
    "inbox held": [3, 5],
    "workspace sealed later": [3, 5],
    "turn is late": [5, 5],
}
# Behind which number each reload stands, and the errors of the states.
RELOADS = {"incomplete": [8], "restored": [4], "now": [6]}
ERRORS = {"away": ["No", "lost"], "wrong": ["No"], "twin": ["lost"]}
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
    ("isNext", {"id": "a", "version": 5}, False),
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
        self.left = self.renewed = 0
        self.is_over = self.has_stayed = False

    async def stay(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.has_stayed = True

    async def leave(self) -> None:
        self.is_over = self.has_stayed

    def renew(self) -> None:
        self.renewed += 1

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
    counts: list[int] = []
    reloads: list[int] = []
    errors: list[str] = []
    left = list(answers)
    clock = [0.0]

    async def respond(request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith("/rest/v1/")
        assert (request.headers["apikey"], request.headers["authorization"]) == ("key", "Bearer token")
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
        await asyncio.sleep(answer.get("takes", 0))
        return (
            httpx.Response(400, json=answer["error"]) if "error" in answer else httpx.Response(200, json=answer["data"])
        )

    async def tell(state: str, error: Exception | None) -> None:
        if state == "reload":
            reloads.append(follower.seq)
            await asyncio.sleep(0)
        said.append([state])
        if error:
            errors.append(str(error))

    asyncio.get_running_loop().time = lambda: clock[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=httpx.MockTransport(respond)))
        named = {"channel_id": "c"} if topic == CHANNEL else {"topic": topic}
        follower = follow("http://x", "key", "token", **named, since=since, on_state=tell)
    follower._checked = 0
    follower._topic = turns = Turns()

    async def listen() -> None:
        async with follower as events:
            async for found in events:
                about = found.payload
                key = about.get("seq") or about.get("conversation_id") or about.get("id")
                said.append([found.name, key or f"{about['channel_id']} {about['created_at']}"])
                cursors.append(follower.cursor)

    async def settle() -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    patch = pytest.MonkeyPatch()
    patch.setattr(following, "time", SimpleNamespace(time=lambda: clock[0]))
    task = asyncio.create_task(listen())
    await settle()
    for step, payload in steps:
        if step == "joined":
            follower.joined()
        elif step == "turn joined":
            turns.is_on_turn = True
            follower.joined()
        elif step == "lost":
            follower.lost(OSError("lost"))
        elif step == "wait":
            for _ in range(payload):
                clock[0] += 1
                await settle()
            counts.append(len(asked))
        elif step == "sleep":
            clock[0] += payload
        elif step == "many":
            # Here the first one waits, too.
            for seq in range(1, payload + (topic == TWIN)):
                name, about = sent(seq) if topic == CHANNEL else ("twin.changed", {"id": seq})
                follower.received(name, about, is_turn=False)
            for _ in range(10):
                await settle()
        else:
            follower.received(step.removeprefix("turn "), payload, is_turn=step.startswith("turn"))
        await settle()
    task.cancel()
    try:
        await task
    except LogError as error:
        said.append(["ended", "failed"])
        errors.append(str(error))
    except asyncio.CancelledError:
        pass
    patch.undo()
    if follower.reason:
        said[-1].append(follower.reason)
    assert turns.is_over
    assert follower._log is None or follower._log._client.is_closed
    end = {"seq": follower.seq, "cursor": follower.cursor, "turn": turns.turn_name, "left": turns.left}
    found = {"counts": counts, "reloads": reloads, "errors": errors, "renewed": turns.renewed}
    return {"said": said, "asked": asked, "cursors": cursors, **end, **found}


def compare(name: str, found: dict[str, Any]) -> None:
    """Compare what both languages tell in the same way."""
    topic, _, _, _, said, asked, end = SCENARIOS[name]
    assert found["said"] == said
    assert asked is None or [each for each in found["asked"] if each[0] not in {"join", "leave"}] == asked
    assert (found["cursor"] if topic in (INBOX, WORKSPACE) else found["seq"]) == (end or 0)
    for key, right in {"cursors": CURSORS, "counts": COUNTS, "reloads": RELOADS, "errors": ERRORS}.items():
        assert found[key] == right.get(name, found[key]), key


@pytest.mark.parametrize("name", SCENARIOS)
def test_python_follower_does_what_the_answers_ask_for(name: str) -> None:
    found = asyncio.run(run(*SCENARIOS[name][:4]))
    compare(name, found)
    assert (found["turn"], found["left"]) == ((TURN, 0) if name in TURNED else (None, name == "turn"))
    assert found["renewed"] == (name == "sleep")


def fail(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no line")


@pytest.mark.parametrize(
    ("respond", "right"),
    [
        (lambda _: httpx.Response(200, text="<html>"), "Expecting value"),
        (fail, "^no line$"),
        (lambda _: httpx.Response(502, json={"code": "x"}), "x"),
        (lambda _: httpx.Response(502, json={"message": "busy"}), "^busy$"),
    ],
    ids=["no JSON", "no connection", "no message", "message"],
)
def test_python_takes_such_an_answer_for_an_outage(respond: Any, right: str) -> None:
    log = Log("http://x", "key", "token", "c")
    log._client = httpx.AsyncClient(base_url="http://x", transport=httpx.MockTransport(respond))
    with pytest.raises(LogUnavailableError, match=right):
        asyncio.run(log.read(0))


def test_python_passes_on_what_ends_the_topic() -> None:
    async def run() -> None:
        follower = follow("http://x", "key", "token", topic=TWIN)  # without a handler of states
        follower._topic = turns = Turns()
        fails = asyncio.Event()

        async def stay() -> None:
            await fails.wait()
            raise RuntimeError("broken")

        turns.stay = stay
        async with follower as events:
            follower.joined()
            follower.received("twin.changed", {"id": "a"}, is_turn=False)
            found = await anext(events)
            assert (found.payload, found.seq) == ({"id": "a"}, None)
            asyncio.get_running_loop().call_later(0.001, fails.set)
            with pytest.raises(RuntimeError, match="broken"):
                await asyncio.wait_for(anext(events), 1)

    asyncio.run(run())


def test_python_forgets_the_oldest_changes() -> None:
    handed = Handed()
    for version in range(1, 10_002):
        handed.add(changed("a", version))
    assert [handed.has(changed("a", version)) for version in (1, 2, 10_001)] == [False, True, True]


TURNED = {"turn stays", "turn is late"}
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
    ] + [
        {"topic": topic, "since": 0, "log": answers, "steps": steps, "failing": failing}
        for topic, answers, steps, failing, *_ in PAGES.values()
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
    told = found["scenarios"]
    pages = dict(zip(PAGES, told[len(SCENARIOS) :], strict=True))
    return {**found, "scenarios": dict(zip(SCENARIOS, told[: len(SCENARIOS)], strict=True)), "pages": pages}


@pytest.mark.parametrize("name", SCENARIOS)
def test_javascript_follower_does_what_the_answers_ask_for(javascript: dict[str, Any], name: str) -> None:
    topic, said, found = SCENARIOS[name][0], SCENARIOS[name][4], javascript["scenarios"][name]
    compare(name, found)
    assert found["last"] == ([] if said[-1:] and said[-1][0] == "ended" else [["ended", "stopped"]])
    assert found["unfinished"] == 0
    assert found["left"] == 0
    turns = [each for each in found["asked"] if each[0] in {"join", "leave"} and each[1] == TURN]
    right = [["join", TURN]] * (name in TURNED or name == "turn") + [["leave", TURN]] * (name == "turn")
    assert turns == right
    assert found["radio"] == ["heartbeat"] * (name == "sleep")
    assert found["leaves"] == ([] if not found["last"] else [topic, TURN] if name in TURNED else [topic])
    assert found["limits"] == {"pauses": [3, 3, 10, 20, 40, 40], "short pause": [3, 3, 10, 3, 3]}.get(
        name, found["limits"]
    )


@pytest.mark.parametrize("name", PAGES)
def test_javascript_follower_lives_in_a_page(javascript: dict[str, Any], name: str) -> None:
    *_, said, right = PAGES[name]
    found = javascript["pages"][name]
    found["turns"] = [each[0] + each[1][-2:] for each in found["asked"] if each[0] in {"join", "leave"}]
    assert found["said"] == said
    assert {key: found[key] for key in right} == right
    assert found["left"] == 0


def test_javascript_forgets_the_oldest_changes(javascript: dict[str, Any]) -> None:
    assert javascript["forgotten"] == [False, True, True]


def test_javascript_follower_needs_no_state_handler(javascript: dict[str, Any]) -> None:
    assert javascript["quiet"] == [["e"], 5]


def test_javascript_remembers_which_changes_were_handed_over(javascript: dict[str, Any]) -> None:
    assert javascript["changes"] == [right for _, _, right in HANDED]


CLOSED = ["a lost undefined false", "b lost undefined false"]
JOINS = [
    ["first", ["auth"], []],
    ["subscribed", [], [3000]],
    ["subscribed twice", [], [3000]],
    ["early", [], [3000]],
    ["ready", ["a joined"], []],
    ["second", ["b joined"], []],
    ["broadcast", ["a e", "b e"], []],
    ["refused", ["a lost no true", "b lost no true"], [500]],
    ["not yet again", [], [500]],
    ["again", ["remove", "removed", "auth"], []],
    ["not ready", [*CLOSED, *CLOSED], [1000]],
    ["closed", ["auth"], []],
    *[["closed", CLOSED, [seconds * 1000]] for seconds in (2, 3, 3)],
    ["late", ["a joined", "b joined"], []],
    ["a second sign", ["a joined", "b joined"], []],
    ["steady", CLOSED, [500]],
    ["limit", ["a lost Too many joins true", "b lost Too many joins true"], [20_000]],
    ["after the limit", CLOSED, [2000]],
    ["system limit", [], []],
    ["after it", ["a lost undefined true", "b lost undefined true"], [20_000]],
    ["another error", [], []],
    ["no limit", ["a lost undefined true", "b lost undefined true"], [3000]],
    ["closed offline", CLOSED, [3000]],
    ["offline", ["a lost cut false", "b lost cut false", "auth"], []],
    ["subscribed again", [], [3000]],
    ["without a sign", ["a joined", "b joined"], []],
    ["old channel", [], []],
    ["one leaves", [], []],
    ["it comes back", ["a joined"], []],
    ["both have left", ["remove", "removed"], []],
    ["broadcast to none", [], []],
    ["left at once", ["auth"], []],
    ["a new one", ["auth"], []],
    ["left again", [], []],
    ["beside it", [], []],
    ["almost ready", [], [3000]],
    ["all leave", ["remove", "removed"], []],
    ["the last one", ["auth"], []],
    ["lost", ["e lost undefined false"], [500]],
    ["it leaves", ["remove", "removed"], []],
    ["a ready one", ["auth", "f joined"], []],
    ["two come while it leaves", ["remove", "removed", "auth"], []],
    ["one brings another", ["h e"], []],
]


def test_javascript_joins_again_after_a_pause(javascript: dict[str, Any]) -> None:
    joins = javascript["joins"]
    assert joins["steps"] == JOINS
    assert javascript["unhandled"] == []
    assert joins["config"] == {"private": True, "broadcast": {"replication_ready": True}}
    assert (joins["name"], joins["channels"]) == ("user:u", 16)
