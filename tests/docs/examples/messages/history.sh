curl -X GET "https://api.lvng.ai/api/v2/messages/history?channel_id=550e8400-e29b-41d4-a716-446655440000&limit=25&offset=0" \
  -H "Authorization: Bearer YOUR_JWT_TOKEN"
