"""callback-receiver: sends requests to providers that finish later and reconciles the callbacks they send."""
