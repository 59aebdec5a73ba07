from flask import Flask

from . import staff, views


def create_app():
    app = Flask(__name__)
    app.register_blueprint(views.bp)
    app.register_blueprint(staff.bp)
    app.add_url_rule("/late", view_func=views.late, methods=["POST"])
    return app
