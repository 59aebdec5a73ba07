from litestar.exceptions import NotAuthorizedException


def signed_in(connection, handler):
    if not connection.session:
        raise NotAuthorizedException
