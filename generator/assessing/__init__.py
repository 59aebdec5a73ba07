"""What an existing project's ElevenLabs code costs and leaks, read from its sources: nothing of it is ever run."""
