curl -X GET https://api.lvng.ai/api/v2/messages/7c9e6679-7425-40de-944b-e07fc1f90ae7 \
  -H "Authorization: Bearer YOUR_JWT_TOKEN"
