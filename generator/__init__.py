"""Renders production ElevenLabs integration code."""
