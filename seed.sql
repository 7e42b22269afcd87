-- A small world for a machine of one's own: the identifiers that the API documents use. Never for production.

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
