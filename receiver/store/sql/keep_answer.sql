-- Keep the answer that whoever repeats the idempotency key is to be given.
UPDATE idempotency_keys SET answer = %(answer)s, location = %(location)s WHERE owner_id = %(owner_id)s AND key = %(key)s
