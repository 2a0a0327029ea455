"""Bodies, queries and answers of our own API, `/v1`. Unknown fields are refused, times are RFC 3339 in UTC."""
