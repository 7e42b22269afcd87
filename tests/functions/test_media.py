"""Uploads of ingested files through both doors: signed URLs, one object for each message, our link in the thread."""

import re
from dataclasses import replace

import httpx
import pytest

from tests.functions.conftest import MISSING
from tests.functions.test_doors import speak_to
from tests.support import tools
from tests.support.ingest import Sender, conversation, message
from tests.support.sessions import session
from tests.support.stack import RunningStack

TOKEN = re.compile(r"token=[\w.-]+")
SHOWN = "select c.messages from public.conversations as c where c.user_id = %s"


def test_uploaded_file_is_shown_and_read(door: str, stack: RunningStack) -> None:
    given = conversation(message("m1", type="image", media_url="https://cdn.example/expires"))
    with speak_to(door) as client:
        sender = Sender.create(client, stack.database_url())
        (upload,) = sender.post(given, media_uploads=True).json()["results"][0]["uploads"]
        url = f"{stack.api_url}/storage/v1/object/upload/sign/attachments/{upload['path']}?token=t"
        assert TOKEN.sub("token=t", upload["url"]) == url
        for content in (b"first", b"second"):
            assert httpx.put(upload["url"], content=content, headers={"content-type": "image/png"}).is_success
        assert sender.post(given, media_uploads=True).json()["results"][0]["uploads"] == []
    with session(stack.database_url()) as db:
        ((messages,),) = db.execute(SHOWN, [sender.user_id]).fetchall()
    secret = {"authorization": f"Bearer {stack.keys['SECRET_KEY']}", "apikey": stack.keys["SECRET_KEY"]}
    assert httpx.get(stack.api_url + messages[0]["media_url"], headers=secret).content == b"second"


@pytest.mark.skipif(MISSING is not None, reason=tools.why_not(MISSING or "deno"))
def test_uploads_of_the_doors_differ_only_in_tokens(request: pytest.FixtureRequest, stack: RunningStack) -> None:
    doors = [request.getfixturevalue(f"{name}_door") for name in ("service", "edge")]
    given = conversation(*(message(f"m{place}", type="image") for place in range(12)))
    with speak_to(doors[0]) as service, speak_to(doors[1]) as edge:
        sender = Sender.create(service, stack.database_url())
        sender.post(given)
        replies = [replace(sender, client=one).post(given, media_uploads=True) for one in (service, edge)]
    texts = [TOKEN.sub("token=t", reply.text) for reply in replies]
    assert texts[0] == texts[1]
    assert texts[0].count("/object/upload/sign/") == 12
