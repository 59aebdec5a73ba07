from fastapi import APIRouter, Depends, Security
from fastapi.responses import StreamingResponse

from shop import settings
from shop.auth import Member, bearer, caller, page
from shop.services import client, speech
from shop.services.tts import Speaker, greeting, say, speak_one

router = APIRouter(prefix="/speech")
speaker = Speaker(settings.VOICE)


@router.post("/say")
def say_it(text: str):  # expect: open-route
    return say(text)


@router.post("/mine")
def say_mine(text: str, user: Member):
    return say(text)


@router.post("/keyed", dependencies=[Depends(caller)])
def say_keyed(text: str):
    return say(text)


@router.post("/secured")
async def say_secured(text: str, token=Security(bearer)):
    return await speak_one(text)


@router.get("/page")
async def say_page(text: str, number=Depends(page)):  # expect: open-route
    return await speak_one(text)


@router.get("/stream")
async def stream(text: str, user: Member):
    return StreamingResponse(client.text_to_speech.stream(settings.VOICE, text=text), media_type="audio/mpeg")


@router.get("/join")
async def join(text: str, user: Member):
    audio = client.text_to_speech.convert(settings.VOICE, text=text)  # expect: blocking-in-async
    return b"".join(audio)


@router.get("/helper")
async def helper(text: str, user: Member):
    return say(text)  # expect: blocking-in-async


@router.get("/voices")
async def voices():
    return await speech.voices.search()


@router.get("/welcome")
def welcome(user: Member):
    return b"".join(client.text_to_speech.convert(settings.VOICE, text="Welcome back to the shop!"))  # expect: repeated-synthesis


@router.get("/hello")
def hello(user: Member):
    return greeting()


@router.get("/personal")
def personal(name: str, user: Member):
    return b"".join(client.text_to_speech.convert(settings.VOICE, text=f"Hello {name}"))


@router.websocket("/socket")
async def socket(ws):  # expect: open-route
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_bytes(await speak_one(text))
