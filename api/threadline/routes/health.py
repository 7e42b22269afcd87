"""GET /health."""

from litestar import Response, get

from threadline.database import Database


@get("/health")
async def health(database: Database) -> Response[dict[str, str]]:
    """Tell whether the service can do its work: 200 when the database answers, else 503."""
    if await database.is_answering():
        return Response({"status": "ok"})
    return Response({"status": "database unavailable"}, status_code=503, headers={"retry-after": "5"})
