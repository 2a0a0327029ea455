"""Bodies, queries and responses of the API `/v1`. Unknown input fields are refused; times are RFC 3339 in UTC."""
