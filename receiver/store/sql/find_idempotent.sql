-- What an idempotency key was used for, and the answer that was given.
SELECT fingerprint, answer, location FROM idempotency_keys WHERE owner_id = %(owner_id)s AND key = %(key)s
