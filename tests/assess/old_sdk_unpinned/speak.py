from elevenlabs import clone  # expect: removed-sdk-call
from elevenlabs import AsyncElevenLabs, VoiceSettings, save, stream

tts = AsyncElevenLabs(timeout=10)


async def sub():
    return await tts.user.get_subscription()  # expect: removed-sdk-call
