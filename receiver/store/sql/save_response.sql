-- Store the response for repetitions of an idempotency key.
UPDATE idempotency_keys SET response = %(response)s, location = %(location)s WHERE client = %(client)s AND key = %(key)s
