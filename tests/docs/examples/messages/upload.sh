curl -X POST https://api.lvng.ai/api/v2/messages/upload \
  -H "Authorization: Bearer YOUR_JWT_TOKEN" \
  -F "files=@report.pdf" \
  -F "files=@chart.png" \
  -F "conversation_id=550e8400-e29b-41d4-a716-446655440000"
