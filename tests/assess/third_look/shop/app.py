import hmac
import os
from functools import wraps

from flask import Blueprint, Flask, Response, abort, request
from redis import Redis
from rq import Queue

from shop.speech import sale, synth, synth_unbounded

bp = Blueprint("speech", __name__)
inside = Blueprint("inside", __name__)
queue = Queue("speech", connection=Redis())


def shop_only(view):
    @wraps(view)
    def wrapped(**kwargs):
        if not hmac.compare_digest(request.headers.get("x-shop", ""), os.environ["SHOP"]):
            abort(401)
        return view(**kwargs)

    return wrapped


@bp.post("/say")
def say():  # expect: open-route
    return Response(synth(request.json["text"]))


@bp.post("/say-later")
def say_later():  # expect: open-route
    job = queue.enqueue(synth, request.json["text"])
    return {"job": job.id}


@bp.post("/say-shop")
@shop_only
def say_shop():
    return Response(synth_unbounded(request.json["text"]))


@bp.get("/sale")
@shop_only
def sale_audio():
    return Response(sale())


@bp.get("/closing")
@shop_only
def closing():
    return Response(synth("We close in ten minutes."))  # expect: repeated-synthesis


@inside.post("/say")
def say_inside():
    return Response(synth(request.json["text"]))


def check_shop():
    if request.headers.get("x-shop") != os.environ["SHOP"]:
        abort(403)


def create():
    app = Flask(__name__)
    inside.before_request(check_shop)
    app.register_blueprint(bp)
    app.register_blueprint(inside, url_prefix="/inside")
    return app
