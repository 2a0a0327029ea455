"""What operators do to requests, jobs and providers; each action is recorded with its actor and reason."""
