"""callback-receiver: sends requests to providers that finish later and reconciles what they call back."""
