-- Keep the answer that whoever repeats the idempotency key is to be given.
UPDATE idempotency_keys SET response = %(response)s, location = %(location)s WHERE client = %(client)s AND key = %(key)s
