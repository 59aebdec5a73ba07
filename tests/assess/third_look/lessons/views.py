from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.mixins import UserPassesTestMixin
from django.views import View
from django.views.decorators.http import require_POST
from rest_framework import permissions, viewsets
from rest_framework.authentication import TokenAuthentication
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.response import Response

from .models import Lesson
from .tts import ElevenSpeech

speech = ElevenSpeech()


class IsTeacher(permissions.BasePermission):
    def has_permission(self, request, view):
        return request.user.groups.filter(name="teachers").exists()


class LessonViewSet(viewsets.ModelViewSet):
    queryset = Lesson.objects.all()
    permission_classes = [permissions.IsAuthenticated & IsTeacher]
    authentication_classes = [TokenAuthentication]

    @action(detail=True, methods=["post"])
    def narrate(self, request, pk=None):
        lesson = self.get_object()
        return HttpResponse(speech.synthesize(lesson.text), content_type="audio/mpeg")

    @action(detail=False, methods=["post"], permission_classes=[permissions.AllowAny])
    def try_out(self, request):  # expect: open-route
        return HttpResponse(speech.synthesize(request.data["text"]), content_type="audio/mpeg")


class DraftViewSet(viewsets.ViewSet):
    def get_permissions(self):
        return [permissions.IsAdminUser()]

    def create(self, request):
        return HttpResponse(speech.synthesize(request.data["text"]), content_type="audio/mpeg")


class PublicLessonViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = Lesson.objects.filter(public=True)
    permission_classes = ()

    def retrieve(self, request, pk=None):  # expect: open-route
        return HttpResponse(speech.synthesize(self.get_object().text), content_type="audio/mpeg")

    def list(self, request):
        return Response([lesson.title for lesson in self.queryset])


def rehearse(request):
    return HttpResponse(speech.synthesize(request.POST["text"]))


@require_POST
def sample(request):  # expect: open-route
    return HttpResponse(speech.synthesize("This is how your course could sound."))  # expect: repeated-synthesis


@method_decorator(login_required, name="dispatch")
class TourView(View):
    def get(self, request):
        return HttpResponse(speech.cached("Welcome to the tour."), content_type="audio/mpeg")


class StaffTourView(UserPassesTestMixin, View):
    def test_func(self):
        return self.request.user.is_staff

    def get(self, request):
        audio = speech.synthesize("Welcome, colleague.")  # expect: repeated-synthesis
        return HttpResponse(audio, content_type="audio/mpeg")


@api_view(["POST"])
@permission_classes([IsTeacher])
def dictated(request):
    return Response({"text": speech.transcript(request.FILES["audio"]).text})


async def transcribe(request):
    user = await request.auser()
    if not user.is_authenticated:
        raise PermissionDenied
    heard = speech.transcript(request.FILES["audio"])  # expect: blocking-in-async
    return JsonResponse({"text": heard.text})
