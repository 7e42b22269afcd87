"""GET /health."""

from litestar import Response, get

from threadline.routes.http import HttpRequest


@get("/health")
async def health(request: HttpRequest) -> Response[dict[str, str]]:
    """Answer 200 if the database answers, else 503."""
    if await request.app.state.database.is_answering():
        return Response({"status": "ok"})
    return Response({"status": "database unavailable"}, status_code=503, headers={"retry-after": "5"})
