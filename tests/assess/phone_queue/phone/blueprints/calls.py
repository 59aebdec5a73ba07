from flask import Blueprint, Response, jsonify, request, stream_with_context
from flask_jwt_extended import jwt_required, verify_jwt_in_request

from ..speech import beep_replacement, from_disk, prompt, speak, speak_never_ends, usage
from ..tasks.jobs import render_voicemail

bp = Blueprint("calls", __name__)


@bp.post("/say")
def say():  # expect: open-route
    return Response(speak(request.json["text"]), mimetype="audio/mpeg")


@bp.post("/say-mine")
@jwt_required()
def say_mine():
    return Response(speak(request.json["text"]), mimetype="audio/mpeg")


@bp.route("/say-checked", methods=["POST"])
def say_checked():
    verify_jwt_in_request()
    return Response(speak(request.json["text"]), mimetype="audio/mpeg")


@bp.route("/stream")
def stream():  # expect: open-route
    return Response(stream_with_context(speak_never_ends(request.args["text"])), mimetype="audio/mpeg")


@bp.get("/prompt/hold")
@jwt_required()
def hold():
    return Response(prompt("hold", "Bitte warten Sie einen Moment."), mimetype="audio/mpeg")


@bp.get("/prompt/closed")
@jwt_required()
def closed():
    return Response(speak("Unser Büro ist leider geschlossen."), mimetype="audio/mpeg")  # expect: repeated-synthesis


@bp.get("/prompt/beep")
@jwt_required()
def beep():
    return Response(beep_replacement(), mimetype="audio/mpeg")


@bp.get("/prompt/thanks")
@jwt_required(optional=False)
def thanks():
    return Response(from_disk("Vielen Dank für Ihren Anruf."), mimetype="audio/mpeg")


@bp.post("/voicemail")
def voicemail():  # expect: open-route
    task = render_voicemail.delay(request.json["text"], request.json["number"])
    return jsonify(id=task.id), 202


@bp.get("/usage")
def used():
    return jsonify(usage().dict())
