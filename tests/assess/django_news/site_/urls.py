from django.contrib.auth.decorators import login_required
from django.urls import path

from news import views

urlpatterns = [
    path("read/<int:pk>/", views.read),
    path("mine/", login_required(views.mine)),
    path("member/", views.member),
    path("open/", views.OpenView.as_view()),
    path("closed/", views.ClosedView.as_view()),
    path("api/", views.Api.as_view()),
    path("free/", views.Free.as_view()),
]
