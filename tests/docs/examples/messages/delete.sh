curl -X DELETE "https://api.lvng.ai/api/v2/messages/7c9e6679-7425-40de-944b-e07fc1f90ae7?user_id=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" \
  -H "Authorization: Bearer YOUR_JWT_TOKEN"
