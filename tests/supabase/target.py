"""A project as its clients see it: URLs and keys."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.ingest import PATH, request


@dataclass(frozen=True)
class User:
    """A signed-in user."""

    id: str
    token: str = field(repr=False)


@dataclass
class Target:
    """A project, one of its doors to ingest, and a service in front of it.

    Attributes:
        url: of the project, with its Data API and Auth.
        publishable_key: of the project, or its legacy anon key.
        secret_key: of the project, or its legacy service_role key.
        ingest_url: the base URL of the door.
        service_url: the base URL of a service; None where only the Edge Function runs.
    """

    url: str
    publishable_key: str
    secret_key: str = field(repr=False)
    ingest_url: str
    service_url: str | None = None
    _users: list[User] = field(default_factory=list)

    def sign_up(self) -> User:
        """Sign up a new user."""
        account = {"email": f"test-{secrets.token_hex(8)}@example.com", "password": secrets.token_urlsafe()}
        made = self._auth("POST", "admin/users", self.secret_key, {**account, "email_confirm": True})
        session = self._auth("POST", "token?grant_type=password", self.publishable_key, account)
        user = User(made["id"], session["access_token"])
        self._users.append(user)
        return user

    def remove_users(self) -> None:
        """Delete every user created here, with all that they own."""
        for user in self._users:
            self._auth("DELETE", f"admin/users/{user.id}", self.secret_key)

    def _auth(self, method: str, path: str, key: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"apikey": key, "authorization": f"Bearer {key}"}
        reply = httpx.request(method, f"{self.url}/auth/v1/{path}", headers=headers, json=body, timeout=60)
        assert reply.is_success, reply.text
        return reply.json()

    def rest(self, user: User, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Call the Data API as a user; raise AssertionError if it rejects the call."""
        reply = httpx.request(
            method,
            f"{self.url}/rest/v1/{path}",
            headers={"apikey": self.publishable_key, "authorization": f"Bearer {user.token}", **headers},
            json=body,
            timeout=60,
        )
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    def connect(self, user: User, platform: str = "whatsapp") -> "Connection":
        """A new connection of a user."""
        made = self.rest(user, "POST", "rpc/create_messaging_connection", {"platform": platform})
        return Connection(self, user, platform, made["connection_id"], made["api_secret"])

    def create_channel(self, owner: User, *members: User) -> str:
        """Create a workspace of these users and a channel with all of them; return the id of the channel."""
        workspace = self.rest(owner, "POST", "rpc/create_workspace", {"name": "team"})
        body = {"name": "team", "workspace_id": workspace["id"]}
        (made,) = self.rest(owner, "POST", "channels", body, prefer="return=representation")
        for member in members:
            invitation = {"workspace_id": workspace["id"], "role": "member"}
            invited = self.rest(owner, "POST", "rpc/create_invitation", invitation)
            self.rest(member, "POST", "rpc/accept_invitation", {"token": invited["token"]})
            self.rest(owner, "POST", "channel_members", {"channel_id": made["id"], "user_id": member.id})
        return made["id"]

    def messages(
        self, user: User | None, method: str, path: str = "", body: Any = None, **headers: str
    ) -> httpx.Response:
        """Call `/api/v2/messages` as a user, or without a token."""
        if user:
            headers["authorization"] = f"Bearer {user.token}"
        url = f"{self.service_url}/api/v2/messages{path}"
        return httpx.request(method, url, headers=headers, json=body, timeout=60)


@dataclass(frozen=True)
class Connection:
    """An outside service that ingests for a user."""

    target: Target
    user: User
    platform: str
    id: str
    secret: str = field(repr=False)

    def post(self, *conversations: Any, secret: str | None = None, **fields: Any) -> httpx.Response:
        """Ingest conversations through the door."""
        body = request(*conversations, **{"platform": self.platform, "connection_id": self.id, **fields})
        headers = {"x-api-key": secret or self.secret}
        return httpx.post(self.target.ingest_url + PATH, json=body, headers=headers, timeout=60)

    def results(self, *conversations: Any) -> list[tuple[str, int]]:
        """Return status and added messages of each conversation; raise AssertionError if the request is rejected."""
        reply = self.post(*conversations)
        assert reply.status_code == 200, reply.text
        return [(result["status"], result.get("messages_added", 0)) for result in reply.json()["results"]]

    def threads(self, user: User | None = None, select: str = "*") -> list[dict[str, Any]]:
        """What the owner, or another user, reads through the Data API."""
        return self.target.rest(
            user or self.user, "GET", f"conversations?select={select}&order=external_conversation_id"
        )
