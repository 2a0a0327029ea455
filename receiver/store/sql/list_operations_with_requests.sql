-- Return the operations that have requests, by provider.
SELECT provider, operation FROM operations_with_requests
