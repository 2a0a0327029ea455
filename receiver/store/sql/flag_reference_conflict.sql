-- Tell a request that the provider gave it a reference which already belongs to another request.
UPDATE requests SET detail = concat_ws('; ', detail, %(detail)s::text) WHERE id = %(request_id)s
