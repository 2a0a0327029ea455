-- Append to a request's detail that its reference belongs to another request.
UPDATE requests SET detail = concat_ws('; ', detail, %(detail)s::text) WHERE id = %(request_id)s
