"""Run every test of ingest on partitioned messages."""

from tests.sql.test_conversations import *  # noqa: F403
from tests.sql.test_ingest_algebra import *  # noqa: F403
from tests.sql.test_ingest_answers import *  # noqa: F403
from tests.sql.test_ingest_effects import *  # noqa: F403
from tests.support.database import Db


def test_messages_are_stored_in_partitions(db: Db) -> None:
    kinds = db.execute(
        "select relkind from pg_class where relname like 'conversation\\_messages%' and relkind in ('r', 'p')"
    )
    assert sorted(kind for (kind,) in kinds) == ["p", "r", "r", "r", "r"]
