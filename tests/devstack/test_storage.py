"""/storage/v1: the calls of the Storage clients, decided by policies of the database."""

import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest
from storage3 import SyncStorageClient
from storage3.exceptions import StorageApiError
from threadline_devstack import keys

from tests.support.stack import RunningStack

ONE, OTHER = (str(uuid.uuid4()) for _ in range(2))
OWN_FOLDER = "bucket_id like 'test-%' and (storage.foldername(name))[1] = (select auth.uid())::text"
SETTING = f"""
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
    ('test-private', 'test-private', false, 1000, array['text/plain', 'image/*']),
    ('test-public', 'test-public', true, null, null);
create policy test_select on storage.objects for select to authenticated using ({OWN_FOLDER});
create policy test_insert on storage.objects for insert to authenticated with check ({OWN_FOLDER});
create policy test_update on storage.objects for update to authenticated
    using ({OWN_FOLDER} and storage.filename(name) like 'draft%') with check ({OWN_FOLDER});
create policy test_delete on storage.objects for delete to authenticated using ({OWN_FOLDER});
"""
TEXT = {"content-type": "text/plain"}


@pytest.fixture(scope="module", autouse=True)
def setting(stack: RunningStack) -> Iterator[None]:
    """Two buckets with a folder for each user."""
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute(SETTING)
        yield
        for command in ("select", "insert", "update", "delete"):
            connection.execute(f"drop policy test_{command} on storage.objects")
        connection.execute("set storage.allow_delete_query = 'true'")
        connection.execute("delete from storage.objects where bucket_id like 'test-%'")
        connection.execute("delete from storage.buckets where id like 'test-%'")


def token(stack: RunningStack, role: str = "authenticated", **claims: object) -> str:
    claims = {"role": role, "exp": int(time.time()) + 600, **claims}
    return jwt.encode(claims, keys.JWT_SECRET, algorithm="HS256")


@pytest.fixture
def one(stack: RunningStack) -> Iterator[httpx.Client]:
    """An HTTP client for Storage, as a user with a folder."""
    headers = {"authorization": f"Bearer {token(stack, sub=ONE)}"}
    with httpx.Client(base_url=f"{stack.api_url}/storage/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def other(stack: RunningStack) -> dict[str, str]:
    """The headers of another user."""
    return {"authorization": f"Bearer {token(stack, sub=OTHER)}"}


@pytest.fixture
def storage(stack: RunningStack, one: httpx.Client) -> SyncStorageClient:
    """The official client, as the same user."""
    return SyncStorageClient(f"{stack.api_url}/storage/v1/", dict(one.headers), http_client=httpx.Client())


@pytest.fixture
def path() -> str:
    """A free path in the user's folder."""
    return f"{ONE}/{uuid.uuid4()}.txt"


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"statusCode", "code", "error", "message"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    return answer.status_code, body["statusCode"], body["code"]


def put(client: httpx.Client, path: str, content: bytes = b"hello", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/object/test-private/{path}", content=content, headers={**TEXT, **named})


def stored(stack: RunningStack) -> int:
    return len(list((stack.home / "storage").glob("*")))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_storage_client_uploads_reads_signs_lists_removes(
    storage: SyncStorageClient, path: str, tmp_path: Path
) -> None:
    files = storage.from_("test-private")
    with storage.session:
        assert files.upload(path, b"hello", {"content-type": "text/plain", "metadata": {"k": "v"}}).path == path
        assert files.download(path) == b"hello"
        info = files.info(path)
        assert (info["size"], info["cache_control"], info["metadata"]) == (5, "max-age=3600", {"k": "v"})
        assert files.exists(path)
        assert httpx.get(files.create_signed_url(path, 60)["signedURL"]).content == b"hello"
        signed = files.create_signed_urls([path, f"{ONE}/none"], 60)
        assert [bool(entry["error"]) for entry in signed] == [False, True]
        assert path.partition("/")[2] in [entry["name"] for entry in files.list(ONE)]
        with pytest.raises(StorageApiError) as caught:
            files.upload(path, b"again", {"content-type": "text/plain"})
        assert caught.value.code == "Duplicate"
        assert [row["name"] for row in files.remove([path, f"{ONE}/none"])] == [path]
        assert not files.exists(path)


def test_removed_object_leaves_no_file(stack: RunningStack, one: httpx.Client, path: str) -> None:
    put(one, path)
    before = stored(stack)
    assert one.delete(f"/object/test-private/{path}").json() == {"message": "Successfully deleted"}
    assert stored(stack) == before - 1
    assert refusal(one.delete(f"/object/test-private/{path}")) == (400, "404", "NoSuchKey")


def test_other_user_cannot_read_store_or_remove(one: httpx.Client, other: dict[str, str], path: str) -> None:
    put(one, path)
    place = f"/object/test-private/{path}"
    for asked in (
        one.get(place, headers=other),
        one.get(f"/object/info/test-private/{path}", headers=other),
        one.post(f"/object/sign/test-private/{path}", json={"expiresIn": 60}, headers=other),
        one.delete(place, headers=other),
    ):
        assert refusal(asked) == (400, "404", "NoSuchKey")
    assert one.post("/object/list/test-private", json={"prefix": ONE}, headers=other).json() == []
    removed = one.request("DELETE", "/object/test-private", json={"prefixes": [path]}, headers=other)
    assert removed.json() == []
    assert refusal(put(one, f"{ONE}/mine.txt", **other)) == (400, "403", "AccessDenied")
    assert one.get(place).content == b"hello"


def test_anonymous_caller_is_refused(stack: RunningStack, one: httpx.Client, path: str) -> None:
    put(one, path)
    with httpx.Client(base_url=one.base_url, headers={"apikey": keys.PUBLISHABLE_KEY}) as anonymous:
        assert refusal(put(anonymous, f"{ONE}/x.txt")) == (400, "403", "AccessDenied")
        assert refusal(anonymous.get(f"/object/test-private/{path}")) == (400, "404", "NoSuchKey")
    assert refusal(httpx.get(f"{one.base_url}object/test-private/{path}")) == (400, "400", "InvalidRequest")


def test_secret_key_passes_every_policy(stack: RunningStack, one: httpx.Client, path: str) -> None:
    put(one, path)
    headers = {"apikey": keys.SECRET_KEY}
    assert httpx.get(f"{one.base_url}object/test-private/{path}", headers=headers).content == b"hello"
    assert "attachments" in [bucket["id"] for bucket in httpx.get(f"{one.base_url}bucket", headers=headers).json()]


@pytest.mark.parametrize("made_up", ["a.b.c", "x", "forged", "expired"])
def test_forged_or_expired_token_is_refused(stack: RunningStack, one: httpx.Client, made_up: str) -> None:
    bearer = {
        "forged": jwt.encode({"role": "service_role"}, "x" * 40, algorithm="HS256"),
        "expired": token(stack, "service_role", exp=1),
    }.get(made_up, made_up)
    answer = one.get("/bucket", headers={"authorization": f"Bearer {bearer}"})
    assert refusal(answer) == (400, "403", "AccessDenied")


def test_signed_link_opens_one_object_until_it_expires(one: httpx.Client, path: str) -> None:
    put(one, path)
    put(one, f"{path}.2")
    link = one.post(f"/object/sign/test-private/{path}", json={"expiresIn": "60"}).json()["signedURL"]
    url = f"{one.base_url}{link[1:]}"
    answer = httpx.get(url)
    assert (answer.content, answer.headers.get("cache-control")) == (b"hello", None)
    assert refusal(httpx.get(url.replace("?", ".2?"))) == (400, "400", "InvalidSignature")
    assert refusal(httpx.get(url + "x")) == (400, "400", "InvalidJWT")
    assert refusal(httpx.get(url.partition("?")[0])) == (400, "400", "InvalidRequest")
    bearer = {"authorization": f"Bearer {link.partition('token=')[2]}"}
    assert refusal(one.get(f"/object/test-private/{path}", headers=bearer)) == (400, "404", "NoSuchKey")
    access = one.headers["authorization"].partition(" ")[2]
    assert refusal(httpx.get(f"{url.partition('=')[0]}={access}")) == (400, "400", "InvalidSignature")
    brief = one.post(f"/object/sign/test-private/{path}", json={"expiresIn": 0}).json()["signedURL"]
    assert refusal(httpx.get(f"{one.base_url}{brief[1:]}")) == (400, "400", "InvalidJWT")


def test_upsert_needs_an_update_policy(stack: RunningStack, one: httpx.Client) -> None:
    draft = f"{ONE}/draft-{uuid.uuid4()}.txt"
    put(one, draft)
    before = stored(stack)
    assert put(one, draft, b"second", x_upsert="true").status_code == 200
    assert one.get(f"/object/test-private/{draft}").content == b"second"
    assert stored(stack) == before
    final = f"{ONE}/final-{uuid.uuid4()}.txt"
    put(one, final)
    assert refusal(put(one, final, b"second", x_upsert="true")) == (400, "403", "AccessDenied")
    assert one.get(f"/object/test-private/{final}").content == b"hello"


@pytest.mark.parametrize(
    ("name", "content", "media_type", "expected"),
    [
        ("big.txt", bytes(1001), "text/plain", ("413", "EntityTooLarge")),
        ("x.pdf", b"x", "application/pdf", ("415", "InvalidMimeType")),
        ("你.txt", b"x", "text/plain", ("400", "InvalidKey")),
        ("..%2F..%2Fx.txt", b"x", "text/plain", ("400", "InvalidKey")),
    ],
)
def test_refused_upload_leaves_no_file(
    stack: RunningStack, one: httpx.Client, name: str, content: bytes, media_type: str, expected: tuple[str, str]
) -> None:
    before = stored(stack) if put(one, f"{ONE}/{uuid.uuid4()}").is_success else 0
    answer = put(one, f"{ONE}/{name}", content, content_type=media_type)
    assert refusal(answer) == (400, *expected)
    assert stored(stack) == before


def test_bucket_can_allow_a_media_type_by_wildcard(one: httpx.Client, path: str) -> None:
    assert put(one, path, content_type="image/webp").status_code == 200


def test_unknown_bucket_is_refused(one: httpx.Client) -> None:
    assert refusal(one.post("/object/nowhere/x", content=b"x")) == (400, "404", "NoSuchBucket")
    assert refusal(one.get("/bucket/test-private")) == (400, "404", "NoSuchBucket")
    assert refusal(one.post("/bucket", json={"name": "mine"})) == (400, "403", "AccessDenied")


def test_range_requests_answer_as_the_genuine_server(one: httpx.Client, path: str) -> None:
    put(one, path, b"0123456789")
    for wanted, content in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")):
        answer = one.get(f"/object/test-private/{path}", headers={"range": wanted})
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["content-range"].endswith("/10")
    assert one.get(f"/object/test-private/{path}", headers={"range": "bytes=10-"}).status_code == 416
    for wanted in ("lines=1-2", "bytes=0-1,4-5", "bytes=-"):
        assert one.get(f"/object/test-private/{path}", headers={"range": wanted}).status_code == 416
    whole = one.get(f"/object/test-private/{path}", headers={"range": "bytes=0-"})
    assert (whole.status_code, whole.headers["content-range"]) == (206, "bytes 0-9/10")
    head = one.head(f"/object/test-private/{path}", headers={"range": "bytes=2-4"})
    assert (head.status_code, head.headers["content-length"]) == (200, "10")


def test_public_url_works_for_public_buckets_only(one: httpx.Client, path: str) -> None:
    put(one, path)
    one.post(f"/object/test-public/{path}", content=b"public!", headers=TEXT)
    answer = httpx.get(f"{one.base_url}object/public/test-public/{path}?download=n%20ame.txt")
    assert answer.content == b"public!"
    assert answer.headers["content-disposition"] == "attachment; filename=n%20ame.txt; filename*=UTF-8''n%20ame.txt"
    assert answer.headers["access-control-allow-origin"] == "*"
    private = httpx.get(f"{one.base_url}object/public/test-private/{path}")
    assert refusal(private) == (400, "404", "NoSuchBucket")


def test_list_returns_a_folder_in_pages(one: httpx.Client) -> None:
    folder = f"{ONE}/{uuid.uuid4()}"
    for name in ("b.txt", "a.txt", "sub/one.txt", "sub/two.txt"):
        put(one, f"{folder}/{name}")

    def names(**wanted: object) -> list[str]:
        answer = one.post("/object/list/test-private", json={"prefix": folder, **wanted})
        return [entry["name"] for entry in answer.json()]

    assert names() == ["a.txt", "b.txt", "sub"]
    assert names(limit=1, offset=1) == ["b.txt"]
    assert names(sortBy={"column": "name", "order": "desc"}) == ["sub", "b.txt", "a.txt"]
    assert names(search="B") == ["b.txt"]
    assert names(prefix=f"{folder}/sub/") == ["one.txt", "two.txt"]


def test_preflight_allows_the_requested_headers(one: httpx.Client) -> None:
    answer = one.options("/object/test-private/x", headers={"access-control-request-headers": "x-upsert,apikey"})
    assert answer.headers["access-control-allow-headers"] == "x-upsert,apikey"
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_incomplete_upload_stores_nothing(stack: RunningStack, one: httpx.Client, path: str) -> None:
    before = stored(stack) if put(one, f"{path}.before").is_success else 0
    lines = [
        f"POST /storage/v1/object/test-private/{path} HTTP/1.1",
        "host: x",
        f"authorization: {one.headers['authorization']}",
        "content-type: text/plain",
        "content-length: 500",
    ]
    with socket.create_connection(("127.0.0.1", stack.port)) as client:
        client.sendall("\r\n".join([*lines, "", "half"]).encode())
        time.sleep(0.3)
    time.sleep(0.3)
    assert refusal(one.get(f"/object/test-private/{path}")) == (400, "404", "NoSuchKey")
    assert stored(stack) == before


def test_unknown_call_answers_404(one: httpx.Client) -> None:
    assert one.post("/object", json={}).status_code == 404
    assert one.get("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/object/test-private/x"),
        ("POST", "/object/move"),
        ("POST", "/object/copy"),
        ("POST", "/upload/resumable"),
        ("PATCH", "/upload/resumable/x"),
        ("PUT", "/bucket/test-private"),
        ("DELETE", "/bucket/test-private"),
        ("POST", "/bucket/test-private/empty"),
        ("POST", "/object/list-v2/test-private"),
        ("GET", "/object/info/public/test-public/x"),
        ("GET", "/render/image/public/test-public/x"),
        ("GET", "/s3/x"),
    ],
)
def test_unsupported_call_answers_501(one: httpx.Client, method: str, path: str) -> None:
    answer = one.request(method, path, json={})
    assert refusal(answer) == (501, "501", "NotImplemented")
    assert answer.json()["message"].startswith("The devstack does not support ")


def test_known_version_answers_304(one: httpx.Client, path: str) -> None:
    put(one, path)
    first = one.get(f"/object/test-private/{path}")
    for name, value in (
        ("if-none-match", first.headers["etag"]),
        ("if-modified-since", first.headers["last-modified"]),
    ):
        again = one.get(f"/object/test-private/{path}", headers={name: value})
        assert (again.status_code, again.content) == (304, b"")
    other = one.get(f"/object/test-private/{path}", headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, b"hello")


def test_html_is_served_as_plain_text(one: httpx.Client, path: str) -> None:
    public = f"/object/test-public/{path}"
    one.post(public, content=b"<script>", headers={"content-type": "text/html; charset=utf-8"})
    assert one.get(public).headers["content-type"] == "text/plain"


def test_form_upload_drops_the_charset(one: httpx.Client, path: str) -> None:
    kind = "text/plain; charset=utf-8"
    one.post(f"/object/test-public/{path}", files={"": ("a.txt", b"x", kind)})
    assert one.get(f"/object/test-public/{path}").headers["content-type"] == "text/plain"
    one.post(f"/object/test-public/{path}.raw", content=b"x", headers={"content-type": kind})
    assert one.get(f"/object/test-public/{path}.raw").headers["content-type"] == kind


@pytest.mark.parametrize(("claims", "status"), [({"sub": "seven"}, 400), ({"role": "postgres"}, 500)])
def test_odd_claims_are_refused(stack: RunningStack, one: httpx.Client, claims: dict[str, str], status: int) -> None:
    odd = jwt.encode({"role": "authenticated", "sub": ONE, **claims}, keys.JWT_SECRET, algorithm="HS256")
    answer = one.get("/bucket", headers={"authorization": f"Bearer {odd}"})
    assert (answer.status_code, answer.json()["statusCode"]) == (status, str(status))


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/object/list/test-private", {}),
        ("POST", "/object/list/test-private", {"prefix": "", "limit": 0}),
        ("POST", "/object/list/test-private", {"prefix": "", "sortBy": {"column": "size"}}),
        ("POST", "/object/list/test-private", {"prefix": "", "sortBy": {"column": "name", "order": "up"}}),
        ("DELETE", "/object/test-private", {"prefixes": []}),
        ("POST", "/object/sign/test-private", {"expiresIn": 60, "paths": []}),
        ("POST", "/bucket", {"name": ""}),
        ("POST", "/bucket", {"name": "sized", "file_size_limit": "large"}),
    ],
)
def test_wrong_body_answers_400(one: httpx.Client, method: str, path: str, wanted: dict[str, object]) -> None:
    assert refusal(one.request(method, path, json=wanted))[:2] == (400, "400")


def test_list_sorts_as_the_genuine_server(one: httpx.Client) -> None:
    folder = f"{ONE}/{uuid.uuid4()}"
    for name in ("A", "a", "_", "1", "sub/x"):
        put(one, f"{folder}/{name}")

    def names(column: str, order: str) -> list[str]:
        wanted = {"prefix": folder, "sortBy": {"column": column, "order": order}}
        return [entry["name"] for entry in one.post("/object/list/test-private", json=wanted).json()]

    assert names("name", "asc") == ["_", "1", "a", "A", "sub"]
    assert names("created_at", "asc")[-1] == "sub"
    assert names("created_at", "desc")[0] == "sub"


def test_bucket_takes_a_size_as_text_and_has_an_owner(stack: RunningStack, one: httpx.Client) -> None:
    name = f"test-sized-{uuid.uuid4()}"
    headers = {"apikey": keys.SECRET_KEY}
    made = httpx.post(f"{one.base_url}bucket", json={"name": name, "file_size_limit": "1MB"}, headers=headers)
    assert made.status_code == 200
    bucket = httpx.get(f"{one.base_url}bucket/{name}", headers=headers).json()
    assert (bucket["file_size_limit"], bucket["owner"]) == (1_000_000, "")
    assert "type" not in bucket
