"""``path("speech/", include("<package>.speech.web.django_urls"))``: the gateway's routes among a project's own."""

from django.urls import re_path

from .django_routes import serve

urlpatterns = [re_path(r"^(?P<path>.*)$", serve)]
