import logging
import os

import uvicorn
from fastapi import Depends, FastAPI

from shop import settings
from shop.api import admin, speech
from shop.auth import who

logger = logging.getLogger(__name__)
app = FastAPI()
app.include_router(speech.router)
app.include_router(admin.router, dependencies=[Depends(who)])
app.include_router(admin.inner)

logger.info("key set: %s", bool(settings.ELEVENLABS_API_KEY))
logger.info("key ends in %s", settings.ELEVENLABS_API_KEY[-4:])
logger.debug("using key %s", settings.ELEVENLABS_API_KEY)  # expect: key-logged
if not os.getenv("ELEVENLABS_API_KEY"):
    raise RuntimeError("ELEVENLABS_API_KEY is not set")

if __name__ == "__main__":
    uvicorn.run(app)
