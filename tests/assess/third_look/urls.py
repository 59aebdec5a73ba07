from django.contrib.admin.views.decorators import staff_member_required
from django.urls import path

from lessons import views

urlpatterns = [path("rehearse/", staff_member_required(views.rehearse)), path("sample/", views.sample)]
