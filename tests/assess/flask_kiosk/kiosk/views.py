from flask import Blueprint, abort, request
from flask_login import current_user, login_required

from .voice import by_http, by_sdk, eleven, insist

bp = Blueprint("views", __name__)


@bp.route("/say", methods=["POST"])
def say():  # expect: open-route
    return by_http(request.json["text"])


@bp.post("/insist")
def say_insisting():  # expect: open-route
    return insist(request.json["text"])


@bp.post("/member")
@login_required
def member():
    return by_http(request.json["text"])


@bp.post("/inside")
def inside():
    if not current_user.is_authenticated:
        abort(401)
    return by_http(request.json["text"])


@bp.post("/refused")
def refused():
    if request.headers.get("X-Kiosk") != "7":
        return "no", 403
    return by_http(request.json["text"])


def late():  # expect: open-route
    return by_sdk("The kiosk closes in ten minutes.")  # expect: repeated-synthesis


@bp.get("/closing")
@login_required
def closing():
    return b"".join(eleven.text_to_speech.convert("x", text="The kiosk closes in ten minutes."))  # expect: repeated-synthesis


@bp.get("/health")
def health():
    return "ok"
