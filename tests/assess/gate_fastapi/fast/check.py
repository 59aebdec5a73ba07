from fastapi import HTTPException, Request, status


async def gatekeeper(request: Request):
    if request.headers.get("x-gate") != "open":
        raise HTTPException(status.HTTP_403_FORBIDDEN)
