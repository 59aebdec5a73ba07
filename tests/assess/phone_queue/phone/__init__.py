from flask import Flask, abort, request

from config import Config

from .blueprints import admin, calls, kiosk
from .sessions import jwt_manager


def create_app(config=Config):
    app = Flask(__name__)
    app.config.from_object(config)
    jwt_manager.init_app(app)
    app.register_blueprint(calls.bp, url_prefix="/calls")
    app.register_blueprint(kiosk.bp, url_prefix="/kiosk")
    app.register_blueprint(admin.bp, url_prefix="/admin")
    app.logger.info("starting, key: %s***", app.config["ELEVENLABS_API_KEY"][:5])
    app.logger.debug("config: %s", app.config["ELEVENLABS_API_KEY"])  # expect: key-logged

    @app.after_request
    def no_store(response):
        response.headers["Cache-Control"] = "no-store"
        return response

    return app
