curl -X POST https://api.lvng.ai/api/v2/messages \
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "channel_id": "550e8400-e29b-41d4-a716-446655440000",
    "content": "Deploy the staging environment and run integration tests.",
    "metadata": {
      "source": "api",
      "priority": "high"
    }
  }'
