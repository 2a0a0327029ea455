-- Every request's client reference and status; for a demonstration's small database only.
SELECT payload ->> 'client_reference', status FROM requests
