import os

INSTALLED_APPS = ["news", "rest_framework"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"]
ELEVENLABS_API_KEY = os.environ.get("ELEVENLABS_API_KEY")
