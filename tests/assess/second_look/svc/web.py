from elevenlabs import AsyncElevenLabs
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request
from starlette.middleware.base import BaseHTTPMiddleware

from svc.speech import Voice, fetch, say


async def get_voice(request: Request) -> Voice:
    return Voice(AsyncElevenLabs(timeout=9))


def signed_in(request: Request):
    if "user" not in request.session:
        raise HTTPException(status_code=401)


class Timing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


app = FastAPI()
app.add_middleware(Timing)
open_ = APIRouter()
closed = APIRouter(dependencies=[Depends(signed_in)])


@open_.post("/users/speak")
async def speak(text: str, voice: Voice = Depends(get_voice)):  # expect: open-route
    return await voice.one(text)


@closed.post("/speak")
async def speak_in(text: str, voice: Voice = Depends(get_voice)):
    return await voice.one(text)


@open_.post("/later")
def later(text: str, background: BackgroundTasks):  # expect: open-route
    background.add_task(fetch, text)


@open_.post("/login")
def login(name: str):
    return {"name": name}


@open_.post("/announce")
async def announce(voice: Voice = Depends(get_voice)):  # expect: open-route
    return await voice.one("The doors are closing.")  # expect: repeated-synthesis


@open_.post("/posted")
def posted(text: str):  # expect: open-route
    return say(text)


app.include_router(open_)
app.include_router(closed)
