curl -X POST https://api.lvng.ai/api/v2/messages/7c9e6679-7425-40de-944b-e07fc1f90ae7/thread \
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \
  -H "Content-Type: application/json" \
  -d '{
    "content": "Here is the Q1 analysis you requested.",
    "ai_twin_id": "b5b2c3d4-e5f6-7890-abcd-ef1234567890"
  }'
