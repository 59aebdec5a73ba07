import logging

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.views import APIView

from .speech import get_client, read_out

log = logging.getLogger("news")


@csrf_exempt
def read(request, pk):  # expect: open-route
    return HttpResponse(read_out(request.POST["text"]))


def mine(request):
    return HttpResponse(read_out(request.POST["text"]))


@login_required
def member(request):
    return HttpResponse(read_out(request.POST["text"]))


class OpenView(View):
    def post(self, request):  # expect: open-route
        return HttpResponse(read_out(request.POST["text"]))


class ClosedView(LoginRequiredMixin, View):
    def post(self, request):
        return HttpResponse(read_out(request.POST["text"]))


class Api(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request):
        return HttpResponse(read_out(request.data["text"]))


class Free(APIView):
    permission_classes = [AllowAny]

    def post(self, request):  # expect: open-route
        return HttpResponse(read_out(request.data["text"]))


async def later(request):
    read_out("Breaking news.")  # expect: blocking-in-async
    return HttpResponse()


def show_settings():
    print(f"key={settings.ELEVENLABS_API_KEY}")  # expect: key-logged
    log.warning("no key" if not settings.ELEVENLABS_API_KEY else "a key")
    log.error("bad key " + settings.ELEVENLABS_API_KEY)  # expect: key-logged


def account():
    client = get_client()
    return client.user.get_subscription(), client.models.get_all()  # expect: removed-sdk-call, removed-sdk-call


def account_now():
    client = get_client()
    return client.user.subscription.get(), client.models.list()
