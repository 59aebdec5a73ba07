from functools import wraps

from flask import Blueprint, Response, g, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from ..speech import client, speak, speak_bounded

bp = Blueprint("kiosk", __name__)
signer = URLSafeTimedSerializer("kiosk")


def paired(view):
    @wraps(view)
    def inner(*args, **kwargs):
        try:
            g.kiosk = signer.loads(request.headers.get("x-kiosk", ""), max_age=3600)
        except BadSignature:
            return {"error": "not paired"}, 401
        return view(*args, **kwargs)

    return inner


def timed(view):
    @wraps(view)
    def inner(*args, **kwargs):
        g.started = True
        return view(*args, **kwargs)

    return inner


@bp.before_request
def language():
    g.language = request.headers.get("accept-language", "de")[:2]


@bp.post("/read")
@paired
def read():
    return Response(speak(request.json["text"], g.language))


@bp.post("/read-open")
@timed
def read_open():  # expect: open-route
    return Response(speak_bounded(request.json["text"]))


@bp.post("/dictate")
@paired
def dictate():
    upload = request.files["audio"]
    heard = client().speech_to_text.convert(model_id="scribe_v1", file=upload.stream)  # expect: stt-retry-drops-form, retired-model
    return {"text": heard.text}
