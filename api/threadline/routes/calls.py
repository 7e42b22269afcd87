"""The table of calls: which SQL function answers which request of /api/v2."""

from __future__ import annotations

from typing import Literal

from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from threadline.routes.http import HttpRequest, answer, call, straight_route

Method = Literal["DELETE", "GET", "PATCH", "POST", "PUT"]

# Method, path, function. Parameters of the path are fields of the function's argument.
CALLS: tuple[tuple[Method, str, str], ...] = (
    ("POST", "/messages", "create_message"),
    ("POST", "/messages/send", "create_message"),
    ("GET", "/messages/history", "list_messages"),
    ("GET", "/messages/search", "search_messages"),
    ("GET", "/messages/{id:str}", "get_message"),
    ("PUT", "/messages/{id:str}", "edit_message"),
    ("DELETE", "/messages/{id:str}", "delete_message"),
    ("GET", "/messages/{id:str}/edits", "list_message_edits"),
    ("POST", "/messages/{id:str}/pin", "pin_message"),
    ("DELETE", "/messages/{id:str}/pin", "unpin_message"),
    ("POST", "/messages/{id:str}/react", "toggle_reaction"),
    ("PUT", "/messages/{id:str}/reactions/{emoji:str}", "add_reaction"),
    ("DELETE", "/messages/{id:str}/reactions/{emoji:str}", "remove_reaction"),
    ("POST", "/messages/{id:str}/thread", "reply_to_message"),
    ("GET", "/conversations/search", "search_conversations"),
    ("POST", "/conversations/{conversation_id:str}/separate", "separate_conversation"),
    ("GET", "/inbox/changes", "list_inbox_changes"),
    ("GET", "/channels", "list_my_channels"),
    ("POST", "/channels/direct", "open_direct"),
    ("GET", "/channels/{channel_id:str}/events", "list_channel_events"),
    ("PUT", "/channels/{channel_id:str}/read", "mark_read"),
    ("GET", "/channels/{channel_id:str}/invitations", "list_invitations"),
    ("POST", "/channels/{channel_id:str}/invitations", "create_invitation"),
    ("GET", "/conversations", "list_conversations"),
    ("GET", "/events", "list_user_events"),
    ("GET", "/workspaces", "list_workspaces"),
    ("POST", "/workspaces", "create_workspace"),
    ("GET", "/workspaces/{workspace_id:str}", "get_workspace"),
    ("PATCH", "/workspaces/{workspace_id:str}", "update_workspace"),
    ("DELETE", "/workspaces/{workspace_id:str}", "delete_workspace"),
    ("GET", "/workspaces/{workspace_id:str}/members", "list_workspace_members"),
    ("PUT", "/workspaces/{workspace_id:str}/members/{member_id:str}", "set_member_role"),
    ("DELETE", "/workspaces/{workspace_id:str}/members/{member_id:str}", "remove_workspace_member"),
    ("GET", "/workspaces/{workspace_id:str}/invitations", "list_invitations"),
    ("POST", "/workspaces/{workspace_id:str}/invitations", "create_invitation"),
    ("GET", "/invitations", "list_my_invitations"),
    ("POST", "/invitations/accept", "accept_invitation"),
    ("DELETE", "/invitations/{invitation_id:str}", "revoke_invitation"),
    ("POST", "/people/{person_id:str}/merge", "merge_people"),
    ("POST", "/people/{person_id:str}/unmerge", "unmerge_people"),
    ("POST", "/people/{person_id:str}/number", "change_number"),
    ("POST", "/people/{person_id:str}/number/undo", "undo_number_change"),
    ("POST", "/erasures/person", "erase_person"),
    ("POST", "/erasures/user", "erase_user"),
    ("PUT", "/twins/{ai_twin_id:str}/webhook", "set_twin_webhook"),
    ("DELETE", "/twins/{ai_twin_id:str}/webhook", "remove_twin_webhook"),
    ("POST", "/twins/{ai_twin_id:str}/webhook/secret", "rotate_twin_secret"),
    ("GET", "/twins/{ai_twin_id:str}/deliveries", "list_twin_deliveries"),
    ("POST", "/twins/{ai_twin_id:str}/deliveries/replay", "replay_twin_deliveries"),
)


def _route(method: Method, path: str, function: str) -> HTTPRouteHandler:
    async def handle(request: HttpRequest) -> ASGIApp:
        return answer(await call(function, request))

    return straight_route(path, [method], handle)


calls = Router("/api/v2", route_handlers=[_route(*each) for each in CALLS])
