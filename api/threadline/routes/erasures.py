"""POST /api/v2/erasures: the right to be forgotten, with a receipt. What goes is decided in `sql/82_erasure.sql`."""

from __future__ import annotations

from litestar import Response, Router, post

from threadline.database import Database
from threadline.routes.messages import HttpRequest, call
from threadline.tokens import Verifier


@post("/person", status_code=200)
async def erase_person(request: HttpRequest, database: Database, verifier: Verifier) -> Response[bytes]:
    """Erase a contact of the caller with its threads."""
    return await call("erase_person", request, database, verifier)


@post("/user", status_code=200)
async def erase_user(request: HttpRequest, database: Database, verifier: Verifier) -> Response[bytes]:
    """Erase a user with all that they said; for service_role."""
    return await call("erase_user", request, database, verifier)


erasures = Router("/api/v2/erasures", route_handlers=[erase_person, erase_user])
