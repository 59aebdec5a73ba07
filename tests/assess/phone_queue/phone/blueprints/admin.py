from functools import wraps

from flask import Blueprint, Response, abort, g, request, session

from ..speech import speak_plain, speak_somehow

bp = Blueprint("admin", __name__)


@bp.before_request
def staff_only():
    if session.get("role") != "staff":
        abort(403)


@bp.post("/test")
def test_voice():
    return Response(speak_plain(request.form["text"]))


@bp.post("/test-hard")
def test_hard():
    return Response(speak_somehow(request.form["text"]))
