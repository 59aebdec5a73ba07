from typing import Annotated

from fastapi import Depends, Header, HTTPException
from fastapi.security import HTTPBearer

bearer = HTTPBearer()


def caller(x_key: str = Header()):
    if x_key != "no":
        raise HTTPException(401)


def who(credentials=Depends(bearer)):
    return credentials


Member = Annotated[str, Depends(who)]


def page(number: int = 0):
    return number
