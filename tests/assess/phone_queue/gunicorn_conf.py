import os

bind = "0.0.0.0:8000"
workers = int(os.getenv("WEB_CONCURRENCY", 3))
threads = 8
timeout = 60
