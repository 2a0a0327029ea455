"""The loop that runs outbound and followup."""
