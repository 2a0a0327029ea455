"""A request leaves: submit, claim, send, take the answer."""
