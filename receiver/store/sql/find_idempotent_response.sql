-- Return the fingerprint of the request that used an idempotency key, and the response.
SELECT fingerprint, response, location FROM idempotency_keys WHERE client = %(client)s AND key = %(key)s
