from fastapi import APIRouter

from shop.services.tts import say

router = APIRouter()
inner = APIRouter()


@router.post("/announce")
def announce(text: str):
    return say(text)


@inner.post("/rehearse")
def rehearse(text: str):  # expect: open-route
    return say(text)
