-- Example data with the ids that the API documents use. For local development only, never for production.

insert into auth.users (
    instance_id, id, aud, role, email, email_confirmed_at,
    raw_app_meta_data, raw_user_meta_data, created_at, updated_at
)
values
(
    '00000000-0000-0000-0000-000000000000', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'authenticated', 'authenticated',
    'matty@example.com', now(),
    '{"provider": "email", "providers": ["email"]}', '{"full_name": "Matty Squarzoni"}', now(), now()
),
(
    '00000000-0000-0000-0000-000000000000', 'b0b0b0b0-0000-4000-8000-000000000002', 'authenticated', 'authenticated',
    'bob@example.com', now(),
    '{"provider": "email", "providers": ["email"]}', '{"full_name": "Bob Okafor"}', now(), now()
),
(
    '00000000-0000-0000-0000-000000000000', 'ca401ca4-0000-4000-8000-000000000003', 'authenticated', 'authenticated',
    'carol@example.com', now(),
    '{"provider": "email", "providers": ["email"]}', '{"full_name": "Carol Lindqvist"}', now(), now()
),
(
    '00000000-0000-0000-0000-000000000000', '3a110123-0000-4000-8000-000000000004', 'authenticated', 'authenticated',
    'mallory@example.com', now(),
    '{"provider": "email", "providers": ["email"]}', '{"full_name": "Mallory Pike"}', now(), now()
);

-- They sign in with `password123`. Supabase Auth cannot read a user whose tokens are null.
update auth.users set
    encrypted_password = '$2a$10$uDVxmzoX7WxZMdchwOuivu6LdQN0I2JTKaclkz5cDKFyxHaZtgsQa',
    confirmation_token = '', recovery_token = '', email_change_token_new = '', email_change = ''
where email in ('matty@example.com', 'bob@example.com', 'carol@example.com', 'mallory@example.com');

insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select
    users.id::text as provider_id,
    users.id as user_id,
    jsonb_build_object(
        'sub', users.id, 'email', users.email, 'email_verified', false, 'phone_verified', false
    ) as identity_data,
    'email' as provider,
    now() as last_sign_in_at,
    now() as created_at,
    now() as updated_at
from auth.users
where users.email in ('matty@example.com', 'bob@example.com', 'carol@example.com', 'mallory@example.com');

insert into public.people (id, user_id, full_name, phone)
values
(
    '0b9d3c52-6f0e-4a6c-9d5e-000000000001', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'John Doe', '+1 234 567 890'
),
(
    '0b9d3c52-6f0e-4a6c-9d5e-000000000002', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'Alice Smith', '(198) 765-4321'
),
(
    '0b9d3c52-6f0e-4a6c-9d5e-000000000003', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'Chen Wei', '+86 138 0013 8000'
),
(
    '0b9d3c52-6f0e-4a6c-9d5e-000000000004', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'Ines Duarte', '+55 (11) 91234-5678'
);

-- The documents' placeholder as the secret of all four, so that their examples run as they stand.
with connection as (
    insert into public.messaging_connections (user_id, platform, connection_id)
    values
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'whatsapp', 'wa_business_123'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'telegram', 'tg_bot_456'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'signal', 'signal_123'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'wechat', 'wechat_789')
    returning id
)

insert into private.messaging_keys (connection_id, secret_hash)
select
    connection.id,
    private.hash_secret('your-api-secret') as secret_hash
from connection;

insert into public.workspaces (id, name, home_country, language, created_by)
values ('7ea3a000-0000-4000-8000-000000000001', 'Team', 'US', 'en', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');

insert into public.workspace_members (workspace_id, user_id, role)
values
('7ea3a000-0000-4000-8000-000000000001', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'owner'),
('7ea3a000-0000-4000-8000-000000000001', 'b0b0b0b0-0000-4000-8000-000000000002', 'member'),
('7ea3a000-0000-4000-8000-000000000001', 'ca401ca4-0000-4000-8000-000000000003', 'member');

insert into public.channels (id, workspace_id, kind, name, created_by)
values (
    '550e8400-e29b-41d4-a716-446655440000', '7ea3a000-0000-4000-8000-000000000001',
    'channel', 'general', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
);

insert into public.channel_members (channel_id, user_id)
values
('550e8400-e29b-41d4-a716-446655440000', 'b0b0b0b0-0000-4000-8000-000000000002'),
('550e8400-e29b-41d4-a716-446655440000', 'ca401ca4-0000-4000-8000-000000000003');

insert into public.ai_twins (id, user_id, display_name)
values ('b5b2c3d4-e5f6-7890-abcd-ef1234567890', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Matty''s twin');

insert into public.channel_twins (channel_id, ai_twin_id)
values ('550e8400-e29b-41d4-a716-446655440000', 'b5b2c3d4-e5f6-7890-abcd-ef1234567890');

insert into public.messages (id, channel_id, user_id, content)
values
(
    '11c0f3a2-5d1e-4a7b-8c3d-000000000001', '550e8400-e29b-41d4-a716-446655440000',
    'b0b0b0b0-0000-4000-8000-000000000002', 'Morning! The staging deployment is scheduled for Friday.'
),
(
    '11c0f3a2-5d1e-4a7b-8c3d-000000000002', '550e8400-e29b-41d4-a716-446655440000',
    'ca401ca4-0000-4000-8000-000000000003', 'Good. I will add Slack notifications to the **CI/CD** pipeline before.'
),
(
    '7c9e6679-7425-40de-944b-e07fc1f90ae7', '550e8400-e29b-41d4-a716-446655440000',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Can you analyze the Q1 marketing data?'
);

insert into public.messages (id, channel_id, user_id, parent_message_id, content)
values
(
    '11c0f3a2-5d1e-4a7b-8c3d-000000000004', '550e8400-e29b-41d4-a716-446655440000',
    'b0b0b0b0-0000-4000-8000-000000000002', '7c9e6679-7425-40de-944b-e07fc1f90ae7',
    'On it. Enterprise accounts grew by 15 %, the rest is flat.'
);

insert into public.message_reactions (message_id, user_id, emoji)
values
('11c0f3a2-5d1e-4a7b-8c3d-000000000001', 'ca401ca4-0000-4000-8000-000000000003', 'fire'),
('11c0f3a2-5d1e-4a7b-8c3d-000000000002', 'b0b0b0b0-0000-4000-8000-000000000002', 'thumbsup');
