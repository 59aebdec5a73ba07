from flask import Blueprint, redirect, request, session

from .voice import by_http

bp = Blueprint("staff", __name__, url_prefix="/staff")


@bp.before_request
def only_staff():
    if "user" not in session:
        return redirect("/login")


@bp.post("/say")
def say():
    return by_http(request.form["text"])
