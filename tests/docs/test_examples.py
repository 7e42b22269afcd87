"""The four examples of the ingest document run on the stack of `make up`; only the address differs."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sessions import session
from tests.support.stack import RunningStack

FOLDER = Path(__file__).parent
DOCUMENTED_URL = "https://ypmkbrdymnfxxwoogpdb.supabase.co"
SECRET = "your-api-secret"

Run = Callable[..., str]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def run(stack: RunningStack, tmp_path: Path) -> Run:
    """Return a function that empties the database, runs an example and returns its output."""
    with session(stack.database_url()) as connection:
        connection.execute("delete from public.conversations")

    def run(example: str, *command: str, **environment: str) -> str:
        text = (FOLDER / "examples" / example).read_text()
        assert DOCUMENTED_URL in text
        script = tmp_path / example
        script.write_text(text.replace(DOCUMENTED_URL, stack.api_url))
        variables = {**os.environ, "PYTHONWARNINGS": "", **environment}
        result = subprocess.run([*command, script], env=variables, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def stored(stack: RunningStack, platform: str) -> list[tuple]:
    """Return the conversations of a platform: name, person, number of messages, preview."""
    with session(stack.database_url()) as connection:
        return connection.execute(
            """
            select
                conversation.external_conversation_id, person.full_name,
                conversation.message_count, conversation.last_message_preview
            from public.conversations as conversation
            left join public.people as person on conversation.person_id = person.id
            where conversation.platform = %s
            order by conversation.external_conversation_id
            """,
            [platform],
        ).fetchall()


def statuses(answer: dict) -> list[tuple[str, int]]:
    assert answer["success"] is True
    assert answer["processed"] == len(answer["results"])
    return [(result["status"], result["messages_added"]) for result in answer["results"]]


@needs("curl")
def test_example_1_sends_a_conversation_and_matches_a_person(run: Run, stack: RunningStack) -> None:
    assert statuses(json.loads(run("example_1.sh", "sh"))) == [("created", 2)]
    assert statuses(json.loads(run("example_1.sh", "sh"))) == [("no_new_messages", 0)]
    chat = ("chat_abc123", "John Doe", 2, "Hello! Thanks for reaching out. How can I help?")
    assert stored(stack, "whatsapp") == [chat]


@needs("curl")
def test_example_2_sends_two_conversations_and_a_photo(run: Run, stack: RunningStack) -> None:
    assert statuses(json.loads(run("example_2.sh", "sh"))) == [("created", 1), ("created", 1)]
    one, two = ("chat_user_1", None, 1, "Product photo"), ("chat_user_2", None, 1, "When will my order arrive?")
    assert stored(stack, "telegram") == [one, two]


@needs("node")
def test_example_3_runs_in_node(run: Run) -> None:
    printed = run("example_3.mjs", "node", MESSAGING_API_SECRET=SECRET)
    assert "success: true" in printed
    assert "messages_added: 1" in printed


def test_example_4_runs_in_python(run: Run, stack: RunningStack) -> None:
    printed = run("example_4.py", sys.executable, PYTHONPATH=str(FOLDER / "shim"))
    assert statuses(ast.literal_eval(printed)) == [("created", 1)]
    assert stored(stack, "signal") == [("signal_chat_001", "Alice Smith", 1, "Can we schedule a call?")]
