"""Django under ASGI. Django receives the whole body in a temporary file, and copies files above 2.5 MiB from it to
another one. ``FileSystemStorage.save`` finds a free name. It renames large files, and writes small ones.
"""

# /// script
# dependencies = ["django", "uvicorn", "httptools"]
# [tool.bench]
# title = "Django, FileSystemStorage"
# servers = ["uvicorn"]
# ///

import os
import time
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.files.storage import FileSystemStorage
from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    LOGGING_CONFIG=None,
    MEDIA_ROOT=os.environ["DESTINATION"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
)
storage = FileSystemStorage()


def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    start = time.perf_counter()
    name = storage.save(file.name, file)
    seconds = time.perf_counter() - start
    headers = {"Server-Timing": f"save;dur={seconds * 1000:.3f}"}
    return HttpResponse(name, content_type="text/plain", headers=headers)


def sleep(request: HttpRequest) -> HttpResponse:
    time.sleep(3)
    return upload(request)


def ping(request: HttpRequest) -> HttpResponse:
    return HttpResponse("pong", content_type="text/plain")


def files(request: HttpRequest, name: str) -> FileResponse:
    return FileResponse(Path(storage.path(name)).open("rb"))  # under ASGI, Django reads it whole before it answers


urlpatterns = [path("upload", upload), path("sleep", sleep), path("ping", ping), path("files/<name>", files)]
app = get_asgi_application()
