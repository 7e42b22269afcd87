// Written by `make types` from the database; use it as createClient<Database>(…).

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  "public": {
    Tables: {
      "ai_twins": {
        Row: {
          "avatar_url": string | null;
          "created_at": string;
          "display_name": string;
          "id": string;
          "updated_at": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "avatar_url"?: string | null;
          "created_at"?: string;
          "display_name": string;
          "id"?: string;
          "updated_at"?: string;
          "user_id"?: string;
        };
        Update: {
          "avatar_url"?: string | null;
          "created_at"?: string;
          "display_name"?: string;
          "id"?: string;
          "updated_at"?: string;
          "user_id"?: string;
        };
        Relationships: [];
      };
      "attachments": {
        Row: {
          "channel_id": string;
          "content_type": string;
          "created_at": string;
          "file_name": string;
          "height": number | null;
          "id": string;
          "path": string;
          "size": number;
          "uploaded_by": string | null;
          "version": string | null;
          "width": number | null;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "content_type": string;
          "created_at"?: string;
          "file_name": string;
          "height"?: number | null;
          "id"?: string;
          "path"?: never;
          "size": number;
          "uploaded_by"?: string | null;
          "version"?: string | null;
          "width"?: number | null;
        };
        Update: {
          "channel_id"?: string;
          "content_type"?: string;
          "created_at"?: string;
          "file_name"?: string;
          "height"?: number | null;
          "id"?: string;
          "path"?: never;
          "size"?: number;
          "uploaded_by"?: string | null;
          "version"?: string | null;
          "width"?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "attachments_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
        ];
      };
      "audit_log": {
        Row: {
          "action": string;
          "actor_id": string | null;
          "at": string;
          "details": NonNullable<Json>;
          "id": string;
          "request_id": string | null;
          "subject_id": string | null;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "action": string;
          "actor_id"?: string | null;
          "at"?: string;
          "details"?: NonNullable<Json>;
          "id"?: string;
          "request_id"?: string | null;
          "subject_id"?: string | null;
          "workspace_id": string;
        };
        Update: {
          "action"?: string;
          "actor_id"?: string | null;
          "at"?: string;
          "details"?: NonNullable<Json>;
          "id"?: string;
          "request_id"?: string | null;
          "subject_id"?: string | null;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "audit_log_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "channel_members": {
        Row: {
          "channel_id": string;
          "created_at": string;
          "role": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "created_at"?: string;
          "role"?: string;
          "user_id": string;
        };
        Update: {
          "channel_id"?: string;
          "created_at"?: string;
          "role"?: string;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "channel_members_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "channel_members_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "user_profiles";
            referencedColumns: ["user_id"];
          },
        ];
      };
      "channel_twins": {
        Row: {
          "ai_twin_id": string;
          "channel_id": string;
          "created_at": string;
        };
        ComputedFields: never;
        Insert: {
          "ai_twin_id": string;
          "channel_id": string;
          "created_at"?: string;
        };
        Update: {
          "ai_twin_id"?: string;
          "channel_id"?: string;
          "created_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "channel_twins_ai_twin_id_fkey";
            columns: ["ai_twin_id"];
            isOneToOne: false;
            referencedRelation: "ai_twins";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "channel_twins_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
        ];
      };
      "channels": {
        Row: {
          "created_at": string;
          "created_by": string | null;
          "direct_key": string | null;
          "id": string;
          "kind": string;
          "language": string | null;
          "name": string | null;
          "updated_at": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "created_by"?: string | null;
          "direct_key"?: string | null;
          "id"?: string;
          "kind"?: string;
          "language"?: string | null;
          "name"?: string | null;
          "updated_at"?: string;
          "workspace_id"?: string;
        };
        Update: {
          "created_at"?: string;
          "created_by"?: string | null;
          "direct_key"?: string | null;
          "id"?: string;
          "kind"?: string;
          "language"?: string | null;
          "name"?: string | null;
          "updated_at"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "channels_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "conversation_identifiers": {
        Row: {
          "app": string;
          "conversation_id": string;
          "created_at": string;
          "key": string | null;
          "kind": string;
          "value": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "app"?: string;
          "conversation_id": string;
          "created_at"?: string;
          "key"?: string | null;
          "kind": string;
          "value": string;
          "workspace_id": string;
        };
        Update: {
          "app"?: string;
          "conversation_id"?: string;
          "created_at"?: string;
          "key"?: string | null;
          "kind"?: string;
          "value"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_identifiers_conversation_id_fkey";
            columns: ["conversation_id"];
            isOneToOne: false;
            referencedRelation: "conversations";
            referencedColumns: ["id"];
          },
        ];
      };
      "conversation_messages": {
        Row: {
          "connection_id": string | null;
          "conversation_id": string;
          "deleted_at": string | null;
          "external_id": string;
          "message": NonNullable<Json>;
          "original": Json | null;
          "received_at": string;
          "sender": string;
          "sent_at": string;
          "sequence": number;
          "stated_at": string | null;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "connection_id"?: string | null;
          "conversation_id": string;
          "deleted_at"?: string | null;
          "external_id": string;
          "message": NonNullable<Json>;
          "original"?: Json | null;
          "received_at"?: string;
          "sender"?: string;
          "sent_at": string;
          "sequence"?: number;
          "stated_at"?: string | null;
          "workspace_id": string;
        };
        Update: {
          "connection_id"?: string | null;
          "conversation_id"?: string;
          "deleted_at"?: string | null;
          "external_id"?: string;
          "message"?: NonNullable<Json>;
          "original"?: Json | null;
          "received_at"?: string;
          "sender"?: string;
          "sent_at"?: string;
          "sequence"?: number;
          "stated_at"?: string | null;
          "workspace_id"?: string;
        };
        Relationships: [];
      };
      "conversation_reads": {
        Row: {
          "conversation_id": string;
          "read_at": string;
          "user_id": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "conversation_id": string;
          "read_at": string;
          "user_id": string;
          "workspace_id": string;
        };
        Update: {
          "conversation_id"?: string;
          "read_at"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_reads_conversation_id_fkey";
            columns: ["conversation_id"];
            isOneToOne: false;
            referencedRelation: "conversations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "conversation_reads_member_fkey";
            columns: ["workspace_id", "user_id"];
            isOneToOne: false;
            referencedRelation: "workspace_members";
            referencedColumns: ["workspace_id", "user_id"];
          },
        ];
      };
      "conversation_updates": {
        Row: {
          "actor": string;
          "at": string;
          "conversation_id": string;
          "external_id": string;
          "received_at": string;
          "sender": string;
          "sequence": number;
          "type": string;
          "value": NonNullable<Json>;
          "version": string;
        };
        ComputedFields: never;
        Insert: {
          "actor": string;
          "at": string;
          "conversation_id": string;
          "external_id": string;
          "received_at"?: string;
          "sender": string;
          "sequence": number;
          "type": string;
          "value": NonNullable<Json>;
          "version": string;
        };
        Update: {
          "actor"?: string;
          "at"?: string;
          "conversation_id"?: string;
          "external_id"?: string;
          "received_at"?: string;
          "sender"?: string;
          "sequence"?: number;
          "type"?: string;
          "value"?: NonNullable<Json>;
          "version"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_updates_conversation_id_fkey";
            columns: ["conversation_id"];
            isOneToOne: false;
            referencedRelation: "conversations";
            referencedColumns: ["id"];
          },
        ];
      };
      "conversations": {
        Row: {
          "created_at": string;
          "external_conversation_id": string;
          "id": string;
          "kind": string;
          "last_message_at": string | null;
          "last_message_preview": string | null;
          "matched_by": string | null;
          "message_count": number;
          "participant_digits": string | null;
          "participant_identified_at": string | null;
          "participant_identifier": string;
          "participant_key": string | null;
          "participant_name": string | null;
          "participant_named_at": string | null;
          "person_id": string | null;
          "platform": string;
          "scope_id": string;
          "updated_at": string;
          "user_id": string;
          "version": number;
          "workspace_id": string;
          "conversation_messages": {
            "connection_id": string | null;
            "conversation_id": string;
            "deleted_at": string | null;
            "external_id": string;
            "message": NonNullable<Json>;
            "original": Json | null;
            "received_at": string;
            "sender": string;
            "sent_at": string;
            "sequence": number;
            "stated_at": string | null;
            "workspace_id": string;
          } | null;
          "messages": Json | null;
          "participants": Json | null;
          "unread_count": number | null;
        };
        ComputedFields: "conversation_messages" | "messages" | "participants" | "unread_count";
        Insert: {
          "created_at"?: string;
          "external_conversation_id": string;
          "id"?: string;
          "kind"?: string;
          "last_message_at"?: string | null;
          "last_message_preview"?: string | null;
          "matched_by"?: string | null;
          "message_count"?: number;
          "participant_digits"?: never;
          "participant_identified_at"?: string | null;
          "participant_identifier": string;
          "participant_key"?: string | null;
          "participant_name"?: string | null;
          "participant_named_at"?: string | null;
          "person_id"?: string | null;
          "platform": string;
          "scope_id": string;
          "updated_at"?: string;
          "user_id": string;
          "version"?: number;
          "workspace_id": string;
        };
        Update: {
          "created_at"?: string;
          "external_conversation_id"?: string;
          "id"?: string;
          "kind"?: string;
          "last_message_at"?: string | null;
          "last_message_preview"?: string | null;
          "matched_by"?: string | null;
          "message_count"?: number;
          "participant_digits"?: never;
          "participant_identified_at"?: string | null;
          "participant_identifier"?: string;
          "participant_key"?: string | null;
          "participant_name"?: string | null;
          "participant_named_at"?: string | null;
          "person_id"?: string | null;
          "platform"?: string;
          "scope_id"?: string;
          "updated_at"?: string;
          "user_id"?: string;
          "version"?: number;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "conversations_person_id_fkey";
            columns: ["workspace_id", "person_id"];
            isOneToOne: false;
            referencedRelation: "people";
            referencedColumns: ["workspace_id", "id"];
          },
          {
            foreignKeyName: "conversations_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "erasures": {
        Row: {
          "created_at": string;
          "erased": NonNullable<Json>;
          "id": string;
          "kind": string;
          "request_id": string | null;
          "requested_by": string | null;
          "subject_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "erased": NonNullable<Json>;
          "id"?: string;
          "kind": string;
          "request_id"?: string | null;
          "requested_by"?: string | null;
          "subject_id": string;
        };
        Update: {
          "created_at"?: string;
          "erased"?: NonNullable<Json>;
          "id"?: string;
          "kind"?: string;
          "request_id"?: string | null;
          "requested_by"?: string | null;
          "subject_id"?: string;
        };
        Relationships: [];
      };
      "ingest_log": {
        Row: {
          "at": string;
          "connection_id": string;
          "conversations": number | null;
          "conversations_created": number | null;
          "errors": (string)[] | null;
          "id": string;
          "key_id": string | null;
          "messages": number | null;
          "messages_added": number | null;
          "request_id": string | null;
          "requests": number;
          "status": number;
          "user_id": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "at"?: string;
          "connection_id": string;
          "conversations"?: number | null;
          "conversations_created"?: number | null;
          "errors"?: (string)[] | null;
          "id"?: string;
          "key_id"?: string | null;
          "messages"?: number | null;
          "messages_added"?: number | null;
          "request_id"?: string | null;
          "requests"?: number;
          "status": number;
          "user_id": string;
          "workspace_id": string;
        };
        Update: {
          "at"?: string;
          "connection_id"?: string;
          "conversations"?: number | null;
          "conversations_created"?: number | null;
          "errors"?: (string)[] | null;
          "id"?: string;
          "key_id"?: string | null;
          "messages"?: number | null;
          "messages_added"?: number | null;
          "request_id"?: string | null;
          "requests"?: number;
          "status"?: number;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Relationships: [];
      };
      "member_states": {
        Row: {
          "channel_id": string;
          "hidden_seq": number | null;
          "is_muted": boolean;
          "is_pinned": boolean;
          "read_seq": number;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "hidden_seq"?: number | null;
          "is_muted"?: boolean;
          "is_pinned"?: boolean;
          "read_seq"?: number;
          "user_id": string;
        };
        Update: {
          "channel_id"?: string;
          "hidden_seq"?: number | null;
          "is_muted"?: boolean;
          "is_pinned"?: boolean;
          "read_seq"?: number;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "member_states_member_fkey";
            columns: ["channel_id", "user_id"];
            isOneToOne: true;
            referencedRelation: "channel_members";
            referencedColumns: ["channel_id", "user_id"];
          },
        ];
      };
      "message_edits": {
        Row: {
          "content": string;
          "message_id": string;
          "replaced_at": string;
          "version": number;
          "written_at": string;
        };
        ComputedFields: never;
        Insert: {
          "content": string;
          "message_id": string;
          "replaced_at"?: string;
          "version": number;
          "written_at": string;
        };
        Update: {
          "content"?: string;
          "message_id"?: string;
          "replaced_at"?: string;
          "version"?: number;
          "written_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "message_edits_message_id_fkey";
            columns: ["message_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
        ];
      };
      "message_events": {
        Row: {
          "actor_id": string | null;
          "added_at": string | null;
          "channel_id": string;
          "created_at": string;
          "emoji": string | null;
          "kind": string;
          "message_id": string | null;
          "reaction_id": string | null;
          "seq": number;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "actor_id"?: string | null;
          "added_at"?: string | null;
          "channel_id": string;
          "created_at": string;
          "emoji"?: string | null;
          "kind": string;
          "message_id"?: string | null;
          "reaction_id"?: string | null;
          "seq": number;
          "workspace_id": string;
        };
        Update: {
          "actor_id"?: string | null;
          "added_at"?: string | null;
          "channel_id"?: string;
          "created_at"?: string;
          "emoji"?: string | null;
          "kind"?: string;
          "message_id"?: string | null;
          "reaction_id"?: string | null;
          "seq"?: number;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "message_events_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
        ];
      };
      "message_mentions": {
        Row: {
          "ai_twin_id": string | null;
          "channel_id": string;
          "id": string;
          "message_id": string;
          "seq": number;
          "user_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "ai_twin_id"?: string | null;
          "channel_id": string;
          "id"?: string;
          "message_id": string;
          "seq": number;
          "user_id"?: string | null;
        };
        Update: {
          "ai_twin_id"?: string | null;
          "channel_id"?: string;
          "id"?: string;
          "message_id"?: string;
          "seq"?: number;
          "user_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "message_mentions_ai_twin_id_fkey";
            columns: ["ai_twin_id"];
            isOneToOne: false;
            referencedRelation: "ai_twins";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "message_mentions_message_id_fkey";
            columns: ["message_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
        ];
      };
      "message_pins": {
        Row: {
          "channel_id": string;
          "message_id": string;
          "pinned_at": string;
          "pinned_by": string | null;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "message_id": string;
          "pinned_at"?: string;
          "pinned_by"?: string | null;
        };
        Update: {
          "channel_id"?: string;
          "message_id"?: string;
          "pinned_at"?: string;
          "pinned_by"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "message_pins_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "message_pins_message_id_fkey";
            columns: ["message_id"];
            isOneToOne: true;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "message_pins_pinned_by_fkey";
            columns: ["pinned_by"];
            isOneToOne: false;
            referencedRelation: "user_profiles";
            referencedColumns: ["user_id"];
          },
        ];
      };
      "message_reactions": {
        Row: {
          "channel_id": string;
          "created_at": string;
          "emoji": string;
          "id": string;
          "message_id": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "channel_id": string;
          "created_at"?: string;
          "emoji": string;
          "id"?: string;
          "message_id": string;
          "user_id"?: string;
        };
        Update: {
          "channel_id"?: string;
          "created_at"?: string;
          "emoji"?: string;
          "id"?: string;
          "message_id"?: string;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "message_reactions_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "message_reactions_message_id_fkey";
            columns: ["message_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "message_reactions_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "user_profiles";
            referencedColumns: ["user_id"];
          },
        ];
      };
      "messages": {
        Row: {
          "ai_twin_id": string | null;
          "attachments": Json | null;
          "channel_id": string;
          "content": string;
          "content_type": string;
          "conversation_id": string | null;
          "created_at": string;
          "deleted_at": string | null;
          "hops": number;
          "id": string;
          "metadata": NonNullable<Json>;
          "parent_message_id": string | null;
          "seq": number;
          "thread_id": string | null;
          "updated_at": string;
          "user_id": string | null;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "ai_twin_id"?: string | null;
          "attachments"?: Json | null;
          "channel_id": string;
          "content": string;
          "content_type"?: string;
          "conversation_id"?: string | null;
          "created_at"?: string;
          "deleted_at"?: string | null;
          "hops"?: number;
          "id"?: string;
          "metadata"?: NonNullable<Json>;
          "parent_message_id"?: string | null;
          "seq"?: number;
          "thread_id"?: string | null;
          "updated_at"?: string;
          "user_id"?: string | null;
          "workspace_id": string;
        };
        Update: {
          "ai_twin_id"?: string | null;
          "attachments"?: Json | null;
          "channel_id"?: string;
          "content"?: string;
          "content_type"?: string;
          "conversation_id"?: string | null;
          "created_at"?: string;
          "deleted_at"?: string | null;
          "hops"?: number;
          "id"?: string;
          "metadata"?: NonNullable<Json>;
          "parent_message_id"?: string | null;
          "seq"?: number;
          "thread_id"?: string | null;
          "updated_at"?: string;
          "user_id"?: string | null;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "messages_ai_twin_id_fkey";
            columns: ["ai_twin_id"];
            isOneToOne: false;
            referencedRelation: "ai_twins";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "messages_channel_id_fkey";
            columns: ["channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "messages_parent_message_id_fkey";
            columns: ["parent_message_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "messages_thread_id_fkey";
            columns: ["thread_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "messages_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "user_profiles";
            referencedColumns: ["user_id"];
          },
        ];
      };
      "messaging_connections": {
        Row: {
          "connection_id": string;
          "created_at": string;
          "id": string;
          "is_active": boolean;
          "is_apart": boolean;
          "platform": string;
          "scope_id": string;
          "stores_media": boolean;
          "updated_at": string;
          "user_id": string;
          "workspace_id": string;
          "keys": Json | null;
        };
        ComputedFields: "keys";
        Insert: {
          "connection_id": string;
          "created_at"?: string;
          "id"?: string;
          "is_active"?: boolean;
          "is_apart"?: boolean;
          "platform": string;
          "scope_id"?: never;
          "stores_media"?: boolean;
          "updated_at"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Update: {
          "connection_id"?: string;
          "created_at"?: string;
          "id"?: string;
          "is_active"?: boolean;
          "is_apart"?: boolean;
          "platform"?: string;
          "scope_id"?: never;
          "stores_media"?: boolean;
          "updated_at"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "messaging_connections_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "people": {
        Row: {
          "created_at": string;
          "full_name": string;
          "id": string;
          "merged_into_id": string | null;
          "phone": string | null;
          "phone_digits": string | null;
          "updated_at": string;
          "user_id": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "full_name": string;
          "id"?: string;
          "merged_into_id"?: string | null;
          "phone"?: string | null;
          "phone_digits"?: never;
          "updated_at"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Update: {
          "created_at"?: string;
          "full_name"?: string;
          "id"?: string;
          "merged_into_id"?: string | null;
          "phone"?: string | null;
          "phone_digits"?: never;
          "updated_at"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "people_merged_into_id_fkey";
            columns: ["workspace_id", "merged_into_id"];
            isOneToOne: false;
            referencedRelation: "people";
            referencedColumns: ["workspace_id", "id"];
          },
          {
            foreignKeyName: "people_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "person_identifiers": {
        Row: {
          "app": string;
          "created_at": string;
          "id": string;
          "kind": string;
          "person_id": string;
          "value": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "app"?: string;
          "created_at"?: string;
          "id"?: string;
          "kind": string;
          "person_id": string;
          "value": string;
          "workspace_id"?: string;
        };
        Update: {
          "app"?: string;
          "created_at"?: string;
          "id"?: string;
          "kind"?: string;
          "person_id"?: string;
          "value"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "person_identifiers_person_fkey";
            columns: ["workspace_id", "person_id"];
            isOneToOne: false;
            referencedRelation: "people";
            referencedColumns: ["workspace_id", "id"];
          },
        ];
      };
      "twin_deliveries": {
        Row: {
          "ai_twin_id": string;
          "attempts": number;
          "channel_id": string;
          "created_at": string;
          "finished_at": string | null;
          "first_attempt_at": string | null;
          "id": string;
          "kind": string;
          "last_error": string | null;
          "last_status": number | null;
          "message_id": string;
          "next_attempt_at": string | null;
          "seq": number;
          "state": string;
        };
        ComputedFields: never;
        Insert: {
          "ai_twin_id": string;
          "attempts"?: number;
          "channel_id": string;
          "created_at"?: string;
          "finished_at"?: string | null;
          "first_attempt_at"?: string | null;
          "id"?: string;
          "kind"?: string;
          "last_error"?: string | null;
          "last_status"?: number | null;
          "message_id": string;
          "next_attempt_at"?: string | null;
          "seq": number;
          "state"?: string;
        };
        Update: {
          "ai_twin_id"?: string;
          "attempts"?: number;
          "channel_id"?: string;
          "created_at"?: string;
          "finished_at"?: string | null;
          "first_attempt_at"?: string | null;
          "id"?: string;
          "kind"?: string;
          "last_error"?: string | null;
          "last_status"?: number | null;
          "message_id"?: string;
          "next_attempt_at"?: string | null;
          "seq"?: number;
          "state"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "twin_deliveries_message_id_fkey";
            columns: ["message_id"];
            isOneToOne: false;
            referencedRelation: "messages";
            referencedColumns: ["id"];
          },
        ];
      };
      "twin_webhooks": {
        Row: {
          "ai_twin_id": string;
          "created_at": string;
          "unsubscribed_at": string | null;
          "updated_at": string;
          "url": string;
        };
        ComputedFields: never;
        Insert: {
          "ai_twin_id": string;
          "created_at"?: string;
          "unsubscribed_at"?: string | null;
          "updated_at"?: string;
          "url": string;
        };
        Update: {
          "ai_twin_id"?: string;
          "created_at"?: string;
          "unsubscribed_at"?: string | null;
          "updated_at"?: string;
          "url"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "twin_webhooks_ai_twin_id_fkey";
            columns: ["ai_twin_id"];
            isOneToOne: true;
            referencedRelation: "ai_twins";
            referencedColumns: ["id"];
          },
        ];
      };
      "user_events": {
        Row: {
          "channel_id": string | null;
          "created_at": string;
          "details": NonNullable<Json>;
          "kind": string;
          "message_id": string | null;
          "seq": number;
          "user_id": string;
          "workspace_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "channel_id"?: string | null;
          "created_at"?: string;
          "details"?: NonNullable<Json>;
          "kind": string;
          "message_id"?: string | null;
          "seq": number;
          "user_id": string;
          "workspace_id"?: string | null;
        };
        Update: {
          "channel_id"?: string | null;
          "created_at"?: string;
          "details"?: NonNullable<Json>;
          "kind"?: string;
          "message_id"?: string | null;
          "seq"?: number;
          "user_id"?: string;
          "workspace_id"?: string | null;
        };
        Relationships: [];
      };
      "user_profiles": {
        Row: {
          "avatar_url": string | null;
          "created_at": string;
          "display_name": string;
          "updated_at": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "avatar_url"?: string | null;
          "created_at"?: string;
          "display_name": string;
          "updated_at"?: string;
          "user_id": string;
        };
        Update: {
          "avatar_url"?: string | null;
          "created_at"?: string;
          "display_name"?: string;
          "updated_at"?: string;
          "user_id"?: string;
        };
        Relationships: [];
      };
      "workspace_invitations": {
        Row: {
          "accepted_at": string | null;
          "accepted_by": string | null;
          "channel_id": string | null;
          "created_at": string;
          "email": string | null;
          "expires_at": string;
          "id": string;
          "invited_by": string | null;
          "revoked_at": string | null;
          "role": string;
          "token_hash": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "accepted_at"?: string | null;
          "accepted_by"?: string | null;
          "channel_id"?: string | null;
          "created_at"?: string;
          "email"?: string | null;
          "expires_at": string;
          "id"?: string;
          "invited_by"?: string | null;
          "revoked_at"?: string | null;
          "role": string;
          "token_hash": string;
          "workspace_id": string;
        };
        Update: {
          "accepted_at"?: string | null;
          "accepted_by"?: string | null;
          "channel_id"?: string | null;
          "created_at"?: string;
          "email"?: string | null;
          "expires_at"?: string;
          "id"?: string;
          "invited_by"?: string | null;
          "revoked_at"?: string | null;
          "role"?: string;
          "token_hash"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "workspace_invitations_channel_id_fkey";
            columns: ["workspace_id", "channel_id"];
            isOneToOne: false;
            referencedRelation: "channels";
            referencedColumns: ["workspace_id", "id"];
          },
          {
            foreignKeyName: "workspace_invitations_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "workspace_members": {
        Row: {
          "created_at": string;
          "role": string;
          "user_id": string;
          "workspace_id": string;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "role"?: string;
          "user_id": string;
          "workspace_id": string;
        };
        Update: {
          "created_at"?: string;
          "role"?: string;
          "user_id"?: string;
          "workspace_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "workspace_members_workspace_id_fkey";
            columns: ["workspace_id"];
            isOneToOne: false;
            referencedRelation: "workspaces";
            referencedColumns: ["id"];
          },
        ];
      };
      "workspaces": {
        Row: {
          "channel_days": number | null;
          "conversation_days": number | null;
          "created_at": string;
          "created_by": string | null;
          "home_country": string | null;
          "id": string;
          "is_personal": boolean;
          "language": string | null;
          "name": string;
          "personal_user_id": string | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "channel_days"?: number | null;
          "conversation_days"?: number | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "home_country"?: string | null;
          "id"?: string;
          "is_personal"?: never;
          "language"?: string | null;
          "name": string;
          "personal_user_id"?: string | null;
          "updated_at"?: string;
        };
        Update: {
          "channel_days"?: number | null;
          "conversation_days"?: number | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "home_country"?: string | null;
          "id"?: string;
          "is_personal"?: never;
          "language"?: string | null;
          "name"?: string;
          "personal_user_id"?: string | null;
          "updated_at"?: string;
        };
        Relationships: [];
      };
    };
    Views: {
      [_ in never]: never;
    };
    Functions: {
      "accept_invitation": { Args: { "invitation_id"?: string; "token"?: string }; Returns: Json };
      "add_reaction":
        | { Args: { "emoji": string; "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "begin_upload":
        | {
          Args: { "conversation_id": string; "conversation_type"?: string; "files": Json; "workspace_id"?: string };
          Returns: Json;
        }
        | { Args: { "": Json }; Returns: Json };
      "change_number":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "person_id": string; "phone": string }; Returns: Json };
      "claim_deliveries":
        | { Args: { "lease_seconds"?: number; "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "clean_up":
        | { Args: { "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "conversation_messages": {
        Args: { "": Database["public"]["Tables"]["conversations"]["Row"] };
        Returns:
          & { error: true }
          & "the function public.conversation_messages with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
        SetofOptions: {
          from: "conversations";
          to: "conversation_messages";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "create_invitation": {
        Args: {
          "channel_id"?: string;
          "email"?: string;
          "role"?: string;
          "valid_for"?: string;
          "workspace_id"?: string;
        };
        Returns: Json;
      };
      "create_message":
        | {
          Args: {
            "ai_twin_id"?: string;
            "attachments"?: Json;
            "channel_id": string;
            "content": string;
            "content_type"?: string;
            "conversation_id"?: string;
            "metadata"?: Json;
            "parent_message_id"?: string;
            "user_id"?: string;
          };
          Returns: Json;
        }
        | { Args: { "": Json }; Returns: Json };
      "create_messaging_connection": {
        Args: { "connection_id"?: string; "is_apart"?: boolean; "platform": string; "workspace_id"?: string };
        Returns: Json;
      };
      "create_workspace": { Args: { "home_country"?: string; "language"?: string; "name": string }; Returns: Json };
      "delete_message":
        | { Args: { "admin"?: boolean; "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "edit_message":
        | { Args: { "content": string; "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "erase_person":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "conversation_ids"?: (string)[]; "person_id": string }; Returns: Json };
      "erase_user":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "user_id": string }; Returns: Json };
      "export_channel":
        | { Args: { "after"?: string; "channel_id": string; "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "export_conversation":
        | { Args: { "after"?: string; "conversation_id": string; "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "finish_delivery":
        | { Args: { "error"?: string; "id": string; "lease": string; "status"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "finish_upload":
        | {
          Args: { "conversation_id": string; "conversation_type"?: string; "files": Json; "workspace_id"?: string };
          Returns: Json;
        }
        | { Args: { "": Json }; Returns: Json };
      "get_attachment":
        | { Args: { "id": string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "get_message":
        | { Args: { "id": string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "index_conversations":
        | { Args: { "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "keys": {
        Args: { "": Database["public"]["Tables"]["messaging_connections"]["Row"] };
        Returns:
          & { error: true }
          & "the function public.keys with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      "list_channel_events":
        | { Args: { "channel_id": string; "limit"?: number; "since"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "list_conversations": { Args: { "before"?: string; "max_conversations"?: number }; Returns: Json };
      "list_inbox_changes":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "limit"?: number; "since"?: string; "workspace_id"?: string }; Returns: Json };
      "list_message_edits":
        | { Args: { "id": string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "list_messages":
        | {
          Args: {
            "after"?: string;
            "before"?: string;
            "channel_id": string;
            "limit"?: number;
            "offset"?: number;
            "roots_only"?: boolean;
            "thread_id"?: string;
          };
          Returns: Json;
        }
        | { Args: { "": Json }; Returns: Json };
      "list_my_channels": { Args: { "max_channels"?: number; "skip"?: number }; Returns: Json };
      "list_my_invitations": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "channel_id": string;
          "channel_name": string;
          "expires_at": string;
          "id": string;
          "invited_by": string;
          "invited_by_name": string;
          "role": string;
          "workspace_id": string;
          "workspace_name": string;
        }[];
      };
      "list_twin_deliveries":
        | { Args: { "ai_twin_id": string; "limit"?: number; "state"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "list_user_events": { Args: { "max_events"?: number; "since"?: number }; Returns: Json };
      "list_workspace_members": {
        Args: { "search"?: string; "workspace_id": string };
        Returns: {
          "avatar_url": string;
          "display_name": string;
          "joined_at": string;
          "role": string;
          "user_id": string;
        }[];
      };
      "mark_conversation_read": { Args: { "at"?: string; "conversation_id": string }; Returns: Json };
      "mark_read": { Args: { "channel_id": string; "seq": number }; Returns: Json };
      "merge_people":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "merged_person_id": string; "person_id": string }; Returns: Json };
      "messages": {
        Args: { "": Database["public"]["Tables"]["conversations"]["Row"] };
        Returns:
          & { error: true }
          & "the function public.messages with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      "open_direct": { Args: { "user_ids": (string)[]; "workspace_id"?: string }; Returns: Json };
      "participants": {
        Args: { "": Database["public"]["Tables"]["conversations"]["Row"] };
        Returns:
          & { error: true }
          & "the function public.participants with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
      "pin_message":
        | { Args: { "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "read_metrics":
        | { Args: Record<PropertyKey, never>; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "remove_reaction":
        | { Args: { "emoji": string; "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "remove_twin_webhook":
        | { Args: { "ai_twin_id": string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "replay_twin_deliveries":
        | { Args: { "ai_twin_id": string; "id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "reply_to_message":
        | {
          Args: {
            "ai_twin_id"?: string;
            "attachments"?: Json;
            "content": string;
            "content_type"?: string;
            "conversation_id"?: string;
            "id": string;
            "metadata"?: Json;
            "user_id"?: string;
          };
          Returns: Json;
        }
        | { Args: { "": Json }; Returns: Json };
      "revoke_invitation": { Args: { "invitation_id": string }; Returns: undefined };
      "revoke_messaging_key": { Args: { "key_id": string }; Returns: undefined };
      "rotate_messaging_key": { Args: { "connection_id": string; "overlap"?: string }; Returns: Json };
      "rotate_twin_secret":
        | { Args: { "ai_twin_id": string; "overlap_hours"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "search_conversations":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "conversation_id"?: string; "limit"?: number; "offset"?: number; "query": string }; Returns: Json };
      "search_messages":
        | { Args: { "": Json }; Returns: Json }
        | {
          Args: { "channel_id"?: string; "limit"?: number; "offset"?: number; "prefix"?: boolean; "query": string };
          Returns: Json;
        };
      "separate_conversation":
        | { Args: { "conversation_id": string; "external_conversation_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "set_twin_webhook":
        | { Args: { "ai_twin_id": string; "url": string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "sweep_attachments":
        | { Args: { "limit"?: number }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "toggle_reaction":
        | { Args: { "emoji": string; "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "undo_number_change":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "person_id": string }; Returns: Json };
      "unmerge_people":
        | { Args: { "": Json }; Returns: Json }
        | { Args: { "person_id": string }; Returns: Json };
      "unpin_message":
        | { Args: { "id": string; "user_id"?: string }; Returns: Json }
        | { Args: { "": Json }; Returns: Json };
      "unread_count": {
        Args: { "": Database["public"]["Tables"]["conversations"]["Row"] };
        Returns:
          & { error: true }
          & "the function public.unread_count with parameter or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache";
      };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof (
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
    )
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals } ? (
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
  )[TableName] extends {
    Row: infer R;
  } ? R
  : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R;
    } ? R
    : never
  : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Insert: infer I;
  } ? I
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I;
    } ? I
    : never
  : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Update: infer U;
  } ? U
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U;
    } ? U
    : never
  : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never;

export const Constants = {
  "public": {
    Enums: {},
  },
} as const;
