-- Return every request's client reference and status. Only for the small database of a demonstration.
SELECT payload ->> 'client_reference', status FROM requests
