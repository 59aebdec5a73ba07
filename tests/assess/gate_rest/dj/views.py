from elevenlabs import ElevenLabs
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

client = ElevenLabs(timeout=9)


@api_view(["POST"])
def closed(request):
    return Response(b"".join(client.text_to_speech.convert("x", text=request.data["text"])))


@api_view(["POST"])
@permission_classes([AllowAny])
def opened(request):  # expect: open-route
    return Response(b"".join(client.text_to_speech.convert("x", text=request.data["text"])))
