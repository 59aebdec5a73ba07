from django.http import HttpResponse
from django.views.decorators.cache import cache_page
from rest_framework import generics, mixins, permissions, routers, status, viewsets
from rest_framework.authentication import get_authorization_header
from rest_framework.decorators import action, api_view
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.views import APIView

from .audio import Guide, tell_later


class Ticket(permissions.BasePermission):
    def has_permission(self, request, view):
        return "ticket" in request.COOKIES


class Visitor(APIView):
    permission_classes = [Ticket]


class Room(Visitor):
    def post(self, request):
        return HttpResponse(Guide().tell(request.data["text"]))


class Hall(APIView):
    def post(self, request):  # expect: open-route
        return HttpResponse(Guide("it").tell(request.data["text"]))


class Later(generics.GenericAPIView):
    def post(self, request, *args, **kwargs):  # expect: open-route
        task = tell_later.apply_async(args=[request.data["text"]])
        return Response({"task": task.id}, status=status.HTTP_202_ACCEPTED)


class Shop(APIView):
    def post(self, request):
        if not get_authorization_header(request):
            raise AuthenticationFailed
        return HttpResponse(Guide().tell(request.data["text"]))


class Exhibits(viewsets.ViewSet):
    permission_classes = [permissions.IsAuthenticatedOrReadOnly]

    def list(self, request):
        return Response([])

    @action(detail=True, methods=["post"])
    def describe(self, request, pk=None):
        return HttpResponse(Guide().tell(f"Exhibit {pk}"))

    @action(detail=False, permission_classes=[])
    def teaser(self, request):  # expect: open-route
        return HttpResponse(Guide().tell_stored("Come and see us."))


@api_view(["GET"])
@cache_page(3600)
def welcome(request):  # expect: open-route
    return HttpResponse(Guide().tell("Welcome to the museum."))


router = routers.SimpleRouter()
router.register("exhibits", Exhibits, basename="exhibit")
