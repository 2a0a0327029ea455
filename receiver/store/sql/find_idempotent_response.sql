-- What an idempotency key was used for, and the answer that was given.
SELECT fingerprint, response, location FROM idempotency_keys WHERE client = %(client)s AND key = %(key)s
