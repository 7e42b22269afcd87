"""Written by `make types` from the database: models of rows, and what may be written."""
from __future__ import annotations

import datetime
import uuid
from typing import (
    Annotated,
    Any,
    List,
    Literal,
    Optional,
    TypedDict,
)
from typing_extensions import NotRequired, TypeAlias

from pydantic import BaseModel, Field, JsonValue

RealtimeAction: TypeAlias = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE", "ERROR"]

RealtimeEqualityOp: TypeAlias = Literal["eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"]

StorageBuckettype: TypeAlias = Literal["STANDARD", "ANALYTICS", "VECTOR"]

class PublicAiTwins(BaseModel):
    avatar_url: Optional[str] = Field(alias="avatar_url")
    created_at: datetime.datetime = Field(alias="created_at")
    display_name: str = Field(alias="display_name")
    id: uuid.UUID = Field(alias="id")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicAiTwinsInsert(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    display_name: Annotated[str, Field(alias="display_name")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicAiTwinsUpdate(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    display_name: NotRequired[Annotated[str, Field(alias="display_name")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicAttachments(BaseModel):
    channel_id: uuid.UUID = Field(alias="channel_id")
    content_type: str = Field(alias="content_type")
    created_at: datetime.datetime = Field(alias="created_at")
    file_name: str = Field(alias="file_name")
    height: Optional[int] = Field(alias="height")
    id: uuid.UUID = Field(alias="id")
    path: str = Field(alias="path")
    size: int = Field(alias="size")
    uploaded_by: Optional[uuid.UUID] = Field(alias="uploaded_by")
    version: Optional[str] = Field(alias="version")
    width: Optional[int] = Field(alias="width")

class PublicAttachmentsInsert(TypedDict):
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    content_type: Annotated[str, Field(alias="content_type")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    file_name: Annotated[str, Field(alias="file_name")]
    height: NotRequired[Annotated[Optional[int], Field(alias="height")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    path: NotRequired[Annotated[str, Field(alias="path")]]
    size: Annotated[int, Field(alias="size")]
    uploaded_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="uploaded_by")]]
    version: NotRequired[Annotated[Optional[str], Field(alias="version")]]
    width: NotRequired[Annotated[Optional[int], Field(alias="width")]]

class PublicAttachmentsUpdate(TypedDict):
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    content_type: NotRequired[Annotated[str, Field(alias="content_type")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    file_name: NotRequired[Annotated[str, Field(alias="file_name")]]
    height: NotRequired[Annotated[Optional[int], Field(alias="height")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    path: NotRequired[Annotated[str, Field(alias="path")]]
    size: NotRequired[Annotated[int, Field(alias="size")]]
    uploaded_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="uploaded_by")]]
    version: NotRequired[Annotated[Optional[str], Field(alias="version")]]
    width: NotRequired[Annotated[Optional[int], Field(alias="width")]]

class PublicAuditLog(BaseModel):
    action: str = Field(alias="action")
    actor_id: Optional[uuid.UUID] = Field(alias="actor_id")
    at: datetime.datetime = Field(alias="at")
    details: JsonValue = Field(alias="details")
    id: uuid.UUID = Field(alias="id")
    request_id: Optional[str] = Field(alias="request_id")
    subject_id: Optional[uuid.UUID] = Field(alias="subject_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicAuditLogInsert(TypedDict):
    action: Annotated[str, Field(alias="action")]
    actor_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="actor_id")]]
    at: NotRequired[Annotated[datetime.datetime, Field(alias="at")]]
    details: NotRequired[Annotated[JsonValue, Field(alias="details")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    subject_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="subject_id")]]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicAuditLogUpdate(TypedDict):
    action: NotRequired[Annotated[str, Field(alias="action")]]
    actor_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="actor_id")]]
    at: NotRequired[Annotated[datetime.datetime, Field(alias="at")]]
    details: NotRequired[Annotated[JsonValue, Field(alias="details")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    subject_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="subject_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicChannelMembers(BaseModel):
    channel_id: uuid.UUID = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    role: str = Field(alias="role")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicChannelMembersInsert(TypedDict):
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicChannelMembersUpdate(TypedDict):
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicChannelTwins(BaseModel):
    ai_twin_id: uuid.UUID = Field(alias="ai_twin_id")
    channel_id: uuid.UUID = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")

class PublicChannelTwinsInsert(TypedDict):
    ai_twin_id: Annotated[uuid.UUID, Field(alias="ai_twin_id")]
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]

class PublicChannelTwinsUpdate(TypedDict):
    ai_twin_id: NotRequired[Annotated[uuid.UUID, Field(alias="ai_twin_id")]]
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]

class PublicChannels(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    created_by: Optional[uuid.UUID] = Field(alias="created_by")
    direct_key: Optional[bytes] = Field(alias="direct_key")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    language: Optional[str] = Field(alias="language")
    name: Optional[str] = Field(alias="name")
    updated_at: datetime.datetime = Field(alias="updated_at")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicChannelsInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    created_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="created_by")]]
    direct_key: NotRequired[Annotated[Optional[bytes], Field(alias="direct_key")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    language: NotRequired[Annotated[Optional[str], Field(alias="language")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicChannelsUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    created_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="created_by")]]
    direct_key: NotRequired[Annotated[Optional[bytes], Field(alias="direct_key")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    language: NotRequired[Annotated[Optional[str], Field(alias="language")]]
    name: NotRequired[Annotated[Optional[str], Field(alias="name")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicConversationIdentifiers(BaseModel):
    app: str = Field(alias="app")
    conversation_id: uuid.UUID = Field(alias="conversation_id")
    created_at: datetime.datetime = Field(alias="created_at")
    key: Optional[str] = Field(alias="key")
    kind: str = Field(alias="kind")
    value: str = Field(alias="value")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicConversationIdentifiersInsert(TypedDict):
    app: NotRequired[Annotated[str, Field(alias="app")]]
    conversation_id: Annotated[uuid.UUID, Field(alias="conversation_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    key: NotRequired[Annotated[Optional[str], Field(alias="key")]]
    kind: Annotated[str, Field(alias="kind")]
    value: Annotated[str, Field(alias="value")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicConversationIdentifiersUpdate(TypedDict):
    app: NotRequired[Annotated[str, Field(alias="app")]]
    conversation_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    key: NotRequired[Annotated[Optional[str], Field(alias="key")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    value: NotRequired[Annotated[str, Field(alias="value")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicConversationMessages(BaseModel):
    connection_id: Optional[uuid.UUID] = Field(alias="connection_id")
    conversation_id: uuid.UUID = Field(alias="conversation_id")
    deleted_at: Optional[datetime.datetime] = Field(alias="deleted_at")
    external_id: str = Field(alias="external_id")
    message: JsonValue = Field(alias="message")
    original: Optional[JsonValue] = Field(alias="original")
    received_at: datetime.datetime = Field(alias="received_at")
    sender: str = Field(alias="sender")
    sent_at: datetime.datetime = Field(alias="sent_at")
    sequence: int = Field(alias="sequence")
    stated_at: Optional[datetime.datetime] = Field(alias="stated_at")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicConversationMessagesInsert(TypedDict):
    connection_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="connection_id")]]
    conversation_id: Annotated[uuid.UUID, Field(alias="conversation_id")]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    external_id: Annotated[str, Field(alias="external_id")]
    message: Annotated[JsonValue, Field(alias="message")]
    original: NotRequired[Annotated[Optional[JsonValue], Field(alias="original")]]
    received_at: NotRequired[Annotated[datetime.datetime, Field(alias="received_at")]]
    sender: NotRequired[Annotated[str, Field(alias="sender")]]
    sent_at: Annotated[datetime.datetime, Field(alias="sent_at")]
    sequence: NotRequired[Annotated[int, Field(alias="sequence")]]
    stated_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="stated_at")]]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicConversationMessagesUpdate(TypedDict):
    connection_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="connection_id")]]
    conversation_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_id")]]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    external_id: NotRequired[Annotated[str, Field(alias="external_id")]]
    message: NotRequired[Annotated[JsonValue, Field(alias="message")]]
    original: NotRequired[Annotated[Optional[JsonValue], Field(alias="original")]]
    received_at: NotRequired[Annotated[datetime.datetime, Field(alias="received_at")]]
    sender: NotRequired[Annotated[str, Field(alias="sender")]]
    sent_at: NotRequired[Annotated[datetime.datetime, Field(alias="sent_at")]]
    sequence: NotRequired[Annotated[int, Field(alias="sequence")]]
    stated_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="stated_at")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicConversationReads(BaseModel):
    conversation_id: uuid.UUID = Field(alias="conversation_id")
    read_at: datetime.datetime = Field(alias="read_at")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicConversationReadsInsert(TypedDict):
    conversation_id: Annotated[uuid.UUID, Field(alias="conversation_id")]
    read_at: Annotated[datetime.datetime, Field(alias="read_at")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicConversationReadsUpdate(TypedDict):
    conversation_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_id")]]
    read_at: NotRequired[Annotated[datetime.datetime, Field(alias="read_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicConversationUpdates(BaseModel):
    actor: str = Field(alias="actor")
    at: datetime.datetime = Field(alias="at")
    conversation_id: uuid.UUID = Field(alias="conversation_id")
    external_id: str = Field(alias="external_id")
    received_at: datetime.datetime = Field(alias="received_at")
    sender: str = Field(alias="sender")
    sequence: int = Field(alias="sequence")
    type: str = Field(alias="type")
    value: JsonValue = Field(alias="value")
    version: str = Field(alias="version")

class PublicConversationUpdatesInsert(TypedDict):
    actor: Annotated[str, Field(alias="actor")]
    at: Annotated[datetime.datetime, Field(alias="at")]
    conversation_id: Annotated[uuid.UUID, Field(alias="conversation_id")]
    external_id: Annotated[str, Field(alias="external_id")]
    received_at: NotRequired[Annotated[datetime.datetime, Field(alias="received_at")]]
    sender: Annotated[str, Field(alias="sender")]
    sequence: Annotated[int, Field(alias="sequence")]
    type: Annotated[str, Field(alias="type")]
    value: Annotated[JsonValue, Field(alias="value")]
    version: Annotated[str, Field(alias="version")]

class PublicConversationUpdatesUpdate(TypedDict):
    actor: NotRequired[Annotated[str, Field(alias="actor")]]
    at: NotRequired[Annotated[datetime.datetime, Field(alias="at")]]
    conversation_id: NotRequired[Annotated[uuid.UUID, Field(alias="conversation_id")]]
    external_id: NotRequired[Annotated[str, Field(alias="external_id")]]
    received_at: NotRequired[Annotated[datetime.datetime, Field(alias="received_at")]]
    sender: NotRequired[Annotated[str, Field(alias="sender")]]
    sequence: NotRequired[Annotated[int, Field(alias="sequence")]]
    type: NotRequired[Annotated[str, Field(alias="type")]]
    value: NotRequired[Annotated[JsonValue, Field(alias="value")]]
    version: NotRequired[Annotated[str, Field(alias="version")]]

class PublicConversations(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    external_conversation_id: str = Field(alias="external_conversation_id")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    last_message_at: Optional[datetime.datetime] = Field(alias="last_message_at")
    last_message_preview: Optional[str] = Field(alias="last_message_preview")
    matched_by: Optional[str] = Field(alias="matched_by")
    message_count: int = Field(alias="message_count")
    participant_digits: Optional[str] = Field(alias="participant_digits")
    participant_identified_at: Optional[datetime.datetime] = Field(alias="participant_identified_at")
    participant_identifier: str = Field(alias="participant_identifier")
    participant_key: Optional[str] = Field(alias="participant_key")
    participant_name: Optional[str] = Field(alias="participant_name")
    participant_named_at: Optional[datetime.datetime] = Field(alias="participant_named_at")
    person_id: Optional[uuid.UUID] = Field(alias="person_id")
    platform: str = Field(alias="platform")
    scope_id: uuid.UUID = Field(alias="scope_id")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")
    version: int = Field(alias="version")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicConversationsInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    external_conversation_id: Annotated[str, Field(alias="external_conversation_id")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    last_message_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_message_at")]]
    last_message_preview: NotRequired[Annotated[Optional[str], Field(alias="last_message_preview")]]
    matched_by: NotRequired[Annotated[Optional[str], Field(alias="matched_by")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    participant_digits: NotRequired[Annotated[Optional[str], Field(alias="participant_digits")]]
    participant_identified_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="participant_identified_at")]]
    participant_identifier: Annotated[str, Field(alias="participant_identifier")]
    participant_key: NotRequired[Annotated[Optional[str], Field(alias="participant_key")]]
    participant_name: NotRequired[Annotated[Optional[str], Field(alias="participant_name")]]
    participant_named_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="participant_named_at")]]
    person_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="person_id")]]
    platform: Annotated[str, Field(alias="platform")]
    scope_id: Annotated[uuid.UUID, Field(alias="scope_id")]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    version: NotRequired[Annotated[int, Field(alias="version")]]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicConversationsUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    external_conversation_id: NotRequired[Annotated[str, Field(alias="external_conversation_id")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    last_message_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_message_at")]]
    last_message_preview: NotRequired[Annotated[Optional[str], Field(alias="last_message_preview")]]
    matched_by: NotRequired[Annotated[Optional[str], Field(alias="matched_by")]]
    message_count: NotRequired[Annotated[int, Field(alias="message_count")]]
    participant_digits: NotRequired[Annotated[Optional[str], Field(alias="participant_digits")]]
    participant_identified_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="participant_identified_at")]]
    participant_identifier: NotRequired[Annotated[str, Field(alias="participant_identifier")]]
    participant_key: NotRequired[Annotated[Optional[str], Field(alias="participant_key")]]
    participant_name: NotRequired[Annotated[Optional[str], Field(alias="participant_name")]]
    participant_named_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="participant_named_at")]]
    person_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="person_id")]]
    platform: NotRequired[Annotated[str, Field(alias="platform")]]
    scope_id: NotRequired[Annotated[uuid.UUID, Field(alias="scope_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    version: NotRequired[Annotated[int, Field(alias="version")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicErasures(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    erased: JsonValue = Field(alias="erased")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    request_id: Optional[str] = Field(alias="request_id")
    requested_by: Optional[uuid.UUID] = Field(alias="requested_by")
    subject_id: uuid.UUID = Field(alias="subject_id")

class PublicErasuresInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    erased: Annotated[JsonValue, Field(alias="erased")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: Annotated[str, Field(alias="kind")]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    requested_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="requested_by")]]
    subject_id: Annotated[uuid.UUID, Field(alias="subject_id")]

class PublicErasuresUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    erased: NotRequired[Annotated[JsonValue, Field(alias="erased")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    requested_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="requested_by")]]
    subject_id: NotRequired[Annotated[uuid.UUID, Field(alias="subject_id")]]

class PublicIngestLog(BaseModel):
    at: datetime.datetime = Field(alias="at")
    connection_id: str = Field(alias="connection_id")
    conversations: Optional[int] = Field(alias="conversations")
    conversations_created: Optional[int] = Field(alias="conversations_created")
    errors: Optional[List[str]] = Field(alias="errors")
    id: uuid.UUID = Field(alias="id")
    key_id: Optional[uuid.UUID] = Field(alias="key_id")
    messages: Optional[int] = Field(alias="messages")
    messages_added: Optional[int] = Field(alias="messages_added")
    request_id: Optional[str] = Field(alias="request_id")
    requests: int = Field(alias="requests")
    status: int = Field(alias="status")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicIngestLogInsert(TypedDict):
    at: NotRequired[Annotated[datetime.datetime, Field(alias="at")]]
    connection_id: Annotated[str, Field(alias="connection_id")]
    conversations: NotRequired[Annotated[Optional[int], Field(alias="conversations")]]
    conversations_created: NotRequired[Annotated[Optional[int], Field(alias="conversations_created")]]
    errors: NotRequired[Annotated[Optional[List[str]], Field(alias="errors")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    key_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="key_id")]]
    messages: NotRequired[Annotated[Optional[int], Field(alias="messages")]]
    messages_added: NotRequired[Annotated[Optional[int], Field(alias="messages_added")]]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    requests: NotRequired[Annotated[int, Field(alias="requests")]]
    status: Annotated[int, Field(alias="status")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicIngestLogUpdate(TypedDict):
    at: NotRequired[Annotated[datetime.datetime, Field(alias="at")]]
    connection_id: NotRequired[Annotated[str, Field(alias="connection_id")]]
    conversations: NotRequired[Annotated[Optional[int], Field(alias="conversations")]]
    conversations_created: NotRequired[Annotated[Optional[int], Field(alias="conversations_created")]]
    errors: NotRequired[Annotated[Optional[List[str]], Field(alias="errors")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    key_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="key_id")]]
    messages: NotRequired[Annotated[Optional[int], Field(alias="messages")]]
    messages_added: NotRequired[Annotated[Optional[int], Field(alias="messages_added")]]
    request_id: NotRequired[Annotated[Optional[str], Field(alias="request_id")]]
    requests: NotRequired[Annotated[int, Field(alias="requests")]]
    status: NotRequired[Annotated[int, Field(alias="status")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicMemberStates(BaseModel):
    channel_id: uuid.UUID = Field(alias="channel_id")
    hidden_seq: Optional[int] = Field(alias="hidden_seq")
    is_muted: bool = Field(alias="is_muted")
    is_pinned: bool = Field(alias="is_pinned")
    read_seq: int = Field(alias="read_seq")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicMemberStatesInsert(TypedDict):
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    hidden_seq: NotRequired[Annotated[Optional[int], Field(alias="hidden_seq")]]
    is_muted: NotRequired[Annotated[bool, Field(alias="is_muted")]]
    is_pinned: NotRequired[Annotated[bool, Field(alias="is_pinned")]]
    read_seq: NotRequired[Annotated[int, Field(alias="read_seq")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicMemberStatesUpdate(TypedDict):
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    hidden_seq: NotRequired[Annotated[Optional[int], Field(alias="hidden_seq")]]
    is_muted: NotRequired[Annotated[bool, Field(alias="is_muted")]]
    is_pinned: NotRequired[Annotated[bool, Field(alias="is_pinned")]]
    read_seq: NotRequired[Annotated[int, Field(alias="read_seq")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicMessageEdits(BaseModel):
    content: str = Field(alias="content")
    message_id: uuid.UUID = Field(alias="message_id")
    replaced_at: datetime.datetime = Field(alias="replaced_at")
    version: int = Field(alias="version")
    written_at: datetime.datetime = Field(alias="written_at")

class PublicMessageEditsInsert(TypedDict):
    content: Annotated[str, Field(alias="content")]
    message_id: Annotated[uuid.UUID, Field(alias="message_id")]
    replaced_at: NotRequired[Annotated[datetime.datetime, Field(alias="replaced_at")]]
    version: Annotated[int, Field(alias="version")]
    written_at: Annotated[datetime.datetime, Field(alias="written_at")]

class PublicMessageEditsUpdate(TypedDict):
    content: NotRequired[Annotated[str, Field(alias="content")]]
    message_id: NotRequired[Annotated[uuid.UUID, Field(alias="message_id")]]
    replaced_at: NotRequired[Annotated[datetime.datetime, Field(alias="replaced_at")]]
    version: NotRequired[Annotated[int, Field(alias="version")]]
    written_at: NotRequired[Annotated[datetime.datetime, Field(alias="written_at")]]

class PublicMessageEvents(BaseModel):
    actor_id: Optional[uuid.UUID] = Field(alias="actor_id")
    added_at: Optional[datetime.datetime] = Field(alias="added_at")
    channel_id: uuid.UUID = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    emoji: Optional[str] = Field(alias="emoji")
    kind: str = Field(alias="kind")
    message_id: Optional[uuid.UUID] = Field(alias="message_id")
    reaction_id: Optional[uuid.UUID] = Field(alias="reaction_id")
    seq: int = Field(alias="seq")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicMessageEventsInsert(TypedDict):
    actor_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="actor_id")]]
    added_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="added_at")]]
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    created_at: Annotated[datetime.datetime, Field(alias="created_at")]
    emoji: NotRequired[Annotated[Optional[str], Field(alias="emoji")]]
    kind: Annotated[str, Field(alias="kind")]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    reaction_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="reaction_id")]]
    seq: Annotated[int, Field(alias="seq")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicMessageEventsUpdate(TypedDict):
    actor_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="actor_id")]]
    added_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="added_at")]]
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    emoji: NotRequired[Annotated[Optional[str], Field(alias="emoji")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    reaction_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="reaction_id")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicMessageMentions(BaseModel):
    ai_twin_id: Optional[uuid.UUID] = Field(alias="ai_twin_id")
    channel_id: uuid.UUID = Field(alias="channel_id")
    id: uuid.UUID = Field(alias="id")
    message_id: uuid.UUID = Field(alias="message_id")
    seq: int = Field(alias="seq")
    user_id: Optional[uuid.UUID] = Field(alias="user_id")

class PublicMessageMentionsInsert(TypedDict):
    ai_twin_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="ai_twin_id")]]
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    message_id: Annotated[uuid.UUID, Field(alias="message_id")]
    seq: Annotated[int, Field(alias="seq")]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]

class PublicMessageMentionsUpdate(TypedDict):
    ai_twin_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="ai_twin_id")]]
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    message_id: NotRequired[Annotated[uuid.UUID, Field(alias="message_id")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]

class PublicMessagePins(BaseModel):
    channel_id: uuid.UUID = Field(alias="channel_id")
    message_id: uuid.UUID = Field(alias="message_id")
    pinned_at: datetime.datetime = Field(alias="pinned_at")
    pinned_by: Optional[uuid.UUID] = Field(alias="pinned_by")

class PublicMessagePinsInsert(TypedDict):
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    message_id: Annotated[uuid.UUID, Field(alias="message_id")]
    pinned_at: NotRequired[Annotated[datetime.datetime, Field(alias="pinned_at")]]
    pinned_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="pinned_by")]]

class PublicMessagePinsUpdate(TypedDict):
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    message_id: NotRequired[Annotated[uuid.UUID, Field(alias="message_id")]]
    pinned_at: NotRequired[Annotated[datetime.datetime, Field(alias="pinned_at")]]
    pinned_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="pinned_by")]]

class PublicMessageReactions(BaseModel):
    channel_id: uuid.UUID = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    emoji: str = Field(alias="emoji")
    id: uuid.UUID = Field(alias="id")
    message_id: uuid.UUID = Field(alias="message_id")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicMessageReactionsInsert(TypedDict):
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    emoji: Annotated[str, Field(alias="emoji")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    message_id: Annotated[uuid.UUID, Field(alias="message_id")]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicMessageReactionsUpdate(TypedDict):
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    emoji: NotRequired[Annotated[str, Field(alias="emoji")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    message_id: NotRequired[Annotated[uuid.UUID, Field(alias="message_id")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicMessages(BaseModel):
    ai_twin_id: Optional[uuid.UUID] = Field(alias="ai_twin_id")
    attachments: Optional[JsonValue] = Field(alias="attachments")
    channel_id: uuid.UUID = Field(alias="channel_id")
    content: str = Field(alias="content")
    content_type: str = Field(alias="content_type")
    conversation_id: Optional[uuid.UUID] = Field(alias="conversation_id")
    created_at: datetime.datetime = Field(alias="created_at")
    deleted_at: Optional[datetime.datetime] = Field(alias="deleted_at")
    hops: int = Field(alias="hops")
    id: uuid.UUID = Field(alias="id")
    metadata: JsonValue = Field(alias="metadata")
    parent_message_id: Optional[uuid.UUID] = Field(alias="parent_message_id")
    seq: int = Field(alias="seq")
    thread_id: Optional[uuid.UUID] = Field(alias="thread_id")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: Optional[uuid.UUID] = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicMessagesInsert(TypedDict):
    ai_twin_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="ai_twin_id")]]
    attachments: NotRequired[Annotated[Optional[JsonValue], Field(alias="attachments")]]
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    content: Annotated[str, Field(alias="content")]
    content_type: NotRequired[Annotated[str, Field(alias="content_type")]]
    conversation_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    hops: NotRequired[Annotated[int, Field(alias="hops")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    parent_message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="parent_message_id")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    thread_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="thread_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicMessagesUpdate(TypedDict):
    ai_twin_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="ai_twin_id")]]
    attachments: NotRequired[Annotated[Optional[JsonValue], Field(alias="attachments")]]
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    content: NotRequired[Annotated[str, Field(alias="content")]]
    content_type: NotRequired[Annotated[str, Field(alias="content_type")]]
    conversation_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="conversation_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    hops: NotRequired[Annotated[int, Field(alias="hops")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    metadata: NotRequired[Annotated[JsonValue, Field(alias="metadata")]]
    parent_message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="parent_message_id")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    thread_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="thread_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicMessagingConnections(BaseModel):
    connection_id: str = Field(alias="connection_id")
    created_at: datetime.datetime = Field(alias="created_at")
    id: uuid.UUID = Field(alias="id")
    is_active: bool = Field(alias="is_active")
    is_apart: bool = Field(alias="is_apart")
    platform: str = Field(alias="platform")
    scope_id: uuid.UUID = Field(alias="scope_id")
    stores_media: bool = Field(alias="stores_media")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicMessagingConnectionsInsert(TypedDict):
    connection_id: Annotated[str, Field(alias="connection_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_active: NotRequired[Annotated[bool, Field(alias="is_active")]]
    is_apart: NotRequired[Annotated[bool, Field(alias="is_apart")]]
    platform: Annotated[str, Field(alias="platform")]
    scope_id: NotRequired[Annotated[uuid.UUID, Field(alias="scope_id")]]
    stores_media: NotRequired[Annotated[bool, Field(alias="stores_media")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicMessagingConnectionsUpdate(TypedDict):
    connection_id: NotRequired[Annotated[str, Field(alias="connection_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_active: NotRequired[Annotated[bool, Field(alias="is_active")]]
    is_apart: NotRequired[Annotated[bool, Field(alias="is_apart")]]
    platform: NotRequired[Annotated[str, Field(alias="platform")]]
    scope_id: NotRequired[Annotated[uuid.UUID, Field(alias="scope_id")]]
    stores_media: NotRequired[Annotated[bool, Field(alias="stores_media")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicPeople(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    full_name: str = Field(alias="full_name")
    id: uuid.UUID = Field(alias="id")
    merged_into_id: Optional[uuid.UUID] = Field(alias="merged_into_id")
    phone: Optional[str] = Field(alias="phone")
    phone_digits: Optional[str] = Field(alias="phone_digits")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicPeopleInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    full_name: Annotated[str, Field(alias="full_name")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    merged_into_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="merged_into_id")]]
    phone: NotRequired[Annotated[Optional[str], Field(alias="phone")]]
    phone_digits: NotRequired[Annotated[Optional[str], Field(alias="phone_digits")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicPeopleUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    full_name: NotRequired[Annotated[str, Field(alias="full_name")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    merged_into_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="merged_into_id")]]
    phone: NotRequired[Annotated[Optional[str], Field(alias="phone")]]
    phone_digits: NotRequired[Annotated[Optional[str], Field(alias="phone_digits")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicPersonIdentifiers(BaseModel):
    app: str = Field(alias="app")
    created_at: datetime.datetime = Field(alias="created_at")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    person_id: uuid.UUID = Field(alias="person_id")
    value: str = Field(alias="value")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicPersonIdentifiersInsert(TypedDict):
    app: NotRequired[Annotated[str, Field(alias="app")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: Annotated[str, Field(alias="kind")]
    person_id: Annotated[uuid.UUID, Field(alias="person_id")]
    value: Annotated[str, Field(alias="value")]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicPersonIdentifiersUpdate(TypedDict):
    app: NotRequired[Annotated[str, Field(alias="app")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    person_id: NotRequired[Annotated[uuid.UUID, Field(alias="person_id")]]
    value: NotRequired[Annotated[str, Field(alias="value")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicTwinDeliveries(BaseModel):
    ai_twin_id: uuid.UUID = Field(alias="ai_twin_id")
    attempts: int = Field(alias="attempts")
    channel_id: uuid.UUID = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    finished_at: Optional[datetime.datetime] = Field(alias="finished_at")
    first_attempt_at: Optional[datetime.datetime] = Field(alias="first_attempt_at")
    id: uuid.UUID = Field(alias="id")
    kind: str = Field(alias="kind")
    last_error: Optional[str] = Field(alias="last_error")
    last_status: Optional[int] = Field(alias="last_status")
    message_id: uuid.UUID = Field(alias="message_id")
    next_attempt_at: Optional[datetime.datetime] = Field(alias="next_attempt_at")
    seq: int = Field(alias="seq")
    state: str = Field(alias="state")

class PublicTwinDeliveriesInsert(TypedDict):
    ai_twin_id: Annotated[uuid.UUID, Field(alias="ai_twin_id")]
    attempts: NotRequired[Annotated[int, Field(alias="attempts")]]
    channel_id: Annotated[uuid.UUID, Field(alias="channel_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    finished_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="finished_at")]]
    first_attempt_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="first_attempt_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    last_error: NotRequired[Annotated[Optional[str], Field(alias="last_error")]]
    last_status: NotRequired[Annotated[Optional[int], Field(alias="last_status")]]
    message_id: Annotated[uuid.UUID, Field(alias="message_id")]
    next_attempt_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="next_attempt_at")]]
    seq: Annotated[int, Field(alias="seq")]
    state: NotRequired[Annotated[str, Field(alias="state")]]

class PublicTwinDeliveriesUpdate(TypedDict):
    ai_twin_id: NotRequired[Annotated[uuid.UUID, Field(alias="ai_twin_id")]]
    attempts: NotRequired[Annotated[int, Field(alias="attempts")]]
    channel_id: NotRequired[Annotated[uuid.UUID, Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    finished_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="finished_at")]]
    first_attempt_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="first_attempt_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    last_error: NotRequired[Annotated[Optional[str], Field(alias="last_error")]]
    last_status: NotRequired[Annotated[Optional[int], Field(alias="last_status")]]
    message_id: NotRequired[Annotated[uuid.UUID, Field(alias="message_id")]]
    next_attempt_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="next_attempt_at")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    state: NotRequired[Annotated[str, Field(alias="state")]]

class PublicTwinWebhooks(BaseModel):
    ai_twin_id: uuid.UUID = Field(alias="ai_twin_id")
    created_at: datetime.datetime = Field(alias="created_at")
    unsubscribed_at: Optional[datetime.datetime] = Field(alias="unsubscribed_at")
    updated_at: datetime.datetime = Field(alias="updated_at")
    url: str = Field(alias="url")

class PublicTwinWebhooksInsert(TypedDict):
    ai_twin_id: Annotated[uuid.UUID, Field(alias="ai_twin_id")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    unsubscribed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="unsubscribed_at")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    url: Annotated[str, Field(alias="url")]

class PublicTwinWebhooksUpdate(TypedDict):
    ai_twin_id: NotRequired[Annotated[uuid.UUID, Field(alias="ai_twin_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    unsubscribed_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="unsubscribed_at")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    url: NotRequired[Annotated[str, Field(alias="url")]]

class PublicUserEvents(BaseModel):
    channel_id: Optional[uuid.UUID] = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    details: JsonValue = Field(alias="details")
    kind: str = Field(alias="kind")
    message_id: Optional[uuid.UUID] = Field(alias="message_id")
    seq: int = Field(alias="seq")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: Optional[uuid.UUID] = Field(alias="workspace_id")

class PublicUserEventsInsert(TypedDict):
    channel_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    details: NotRequired[Annotated[JsonValue, Field(alias="details")]]
    kind: Annotated[str, Field(alias="kind")]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    seq: Annotated[int, Field(alias="seq")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    workspace_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="workspace_id")]]

class PublicUserEventsUpdate(TypedDict):
    channel_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    details: NotRequired[Annotated[JsonValue, Field(alias="details")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    message_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="message_id")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="workspace_id")]]

class PublicUserProfiles(BaseModel):
    avatar_url: Optional[str] = Field(alias="avatar_url")
    created_at: datetime.datetime = Field(alias="created_at")
    display_name: str = Field(alias="display_name")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicUserProfilesInsert(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    display_name: Annotated[str, Field(alias="display_name")]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicUserProfilesUpdate(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    display_name: NotRequired[Annotated[str, Field(alias="display_name")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicWorkspaceInvitations(BaseModel):
    accepted_at: Optional[datetime.datetime] = Field(alias="accepted_at")
    accepted_by: Optional[uuid.UUID] = Field(alias="accepted_by")
    channel_id: Optional[uuid.UUID] = Field(alias="channel_id")
    created_at: datetime.datetime = Field(alias="created_at")
    email: Optional[str] = Field(alias="email")
    expires_at: datetime.datetime = Field(alias="expires_at")
    id: uuid.UUID = Field(alias="id")
    invited_by: Optional[uuid.UUID] = Field(alias="invited_by")
    revoked_at: Optional[datetime.datetime] = Field(alias="revoked_at")
    role: str = Field(alias="role")
    token_hash: bytes = Field(alias="token_hash")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicWorkspaceInvitationsInsert(TypedDict):
    accepted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="accepted_at")]]
    accepted_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="accepted_by")]]
    channel_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    email: NotRequired[Annotated[Optional[str], Field(alias="email")]]
    expires_at: Annotated[datetime.datetime, Field(alias="expires_at")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    invited_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="invited_by")]]
    revoked_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="revoked_at")]]
    role: Annotated[str, Field(alias="role")]
    token_hash: Annotated[bytes, Field(alias="token_hash")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicWorkspaceInvitationsUpdate(TypedDict):
    accepted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="accepted_at")]]
    accepted_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="accepted_by")]]
    channel_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="channel_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    email: NotRequired[Annotated[Optional[str], Field(alias="email")]]
    expires_at: NotRequired[Annotated[datetime.datetime, Field(alias="expires_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    invited_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="invited_by")]]
    revoked_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="revoked_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    token_hash: NotRequired[Annotated[bytes, Field(alias="token_hash")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicWorkspaceMembers(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    role: str = Field(alias="role")
    user_id: uuid.UUID = Field(alias="user_id")
    workspace_id: uuid.UUID = Field(alias="workspace_id")

class PublicWorkspaceMembersInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    workspace_id: Annotated[uuid.UUID, Field(alias="workspace_id")]

class PublicWorkspaceMembersUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    workspace_id: NotRequired[Annotated[uuid.UUID, Field(alias="workspace_id")]]

class PublicWorkspaces(BaseModel):
    channel_days: Optional[int] = Field(alias="channel_days")
    conversation_days: Optional[int] = Field(alias="conversation_days")
    created_at: datetime.datetime = Field(alias="created_at")
    created_by: Optional[uuid.UUID] = Field(alias="created_by")
    home_country: Optional[str] = Field(alias="home_country")
    id: uuid.UUID = Field(alias="id")
    is_personal: bool = Field(alias="is_personal")
    language: Optional[str] = Field(alias="language")
    name: str = Field(alias="name")
    personal_user_id: Optional[uuid.UUID] = Field(alias="personal_user_id")
    updated_at: datetime.datetime = Field(alias="updated_at")

class PublicWorkspacesInsert(TypedDict):
    channel_days: NotRequired[Annotated[Optional[int], Field(alias="channel_days")]]
    conversation_days: NotRequired[Annotated[Optional[int], Field(alias="conversation_days")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    created_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="created_by")]]
    home_country: NotRequired[Annotated[Optional[str], Field(alias="home_country")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_personal: NotRequired[Annotated[bool, Field(alias="is_personal")]]
    language: NotRequired[Annotated[Optional[str], Field(alias="language")]]
    name: Annotated[str, Field(alias="name")]
    personal_user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="personal_user_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]

class PublicWorkspacesUpdate(TypedDict):
    channel_days: NotRequired[Annotated[Optional[int], Field(alias="channel_days")]]
    conversation_days: NotRequired[Annotated[Optional[int], Field(alias="conversation_days")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    created_by: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="created_by")]]
    home_country: NotRequired[Annotated[Optional[str], Field(alias="home_country")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    is_personal: NotRequired[Annotated[bool, Field(alias="is_personal")]]
    language: NotRequired[Annotated[Optional[str], Field(alias="language")]]
    name: NotRequired[Annotated[str, Field(alias="name")]]
    personal_user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="personal_user_id")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
