import requests
from flask_jwt_extended import JWTManager
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

jwt_manager = JWTManager()


class TimeoutSession(requests.Session):
    """A session that never waits for ever."""

    def request(self, *args, **kwargs):
        kwargs.setdefault("timeout", (3.05, 20))
        return super().request(*args, **kwargs)


def plain_session():
    session = requests.Session()
    session.headers["accept"] = "audio/mpeg"
    return session


def retrying_session():
    session = TimeoutSession()
    session.mount("https://", HTTPAdapter(max_retries=Retry(total=2, status_forcelist=[429], allowed_methods=None)))
    return session
