from svc.core.factory import make_client as client_factory
