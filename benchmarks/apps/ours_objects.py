"""The same app as on the disk: the destination is the URL of an object store."""

# /// script
# [tool.bench]
# title = "quart_uploads to S3"
# servers = ["uvicorn"]
# engine = true
# serves = false
# ///

from ours_quart import app

__all__ = ["app"]
