"""The app of ``ours_quart.py`` with the URL of an object store as its destination."""

# /// script
# [tool.bench]
# title = "quart_uploads to S3"
# servers = ["uvicorn"]
# engine = true
# serves = false
# ///

from ours_quart import app

__all__ = ["app"]
