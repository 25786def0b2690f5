"""The async shell, file for file like :mod:`quart_uploads.flask`. Its names are exported by :mod:`quart_uploads`."""
