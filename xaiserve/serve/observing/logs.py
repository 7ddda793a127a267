"""Log lines of the service's processes, as text or JSON, each with its request's id.

Values come from us: no pixels, no keys, no file names, no query strings.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from typing_extensions import override

from xaiserve.serve.incoming.request_ids import request_id
from xaiserve.serve.settings import Logs

ROOT: Final = "xaiserve"


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message, request id, then its fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {  # Any: JSON
            "time": _time(record).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id():
            told["request_id"] = request_id()
        told |= _fields(record)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


class TextLines(logging.Formatter):
    """One line per record for people; a trace below it."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record))
        if request_id():
            fields["request_id"] = request_id()
        told = " ".join(f"{key}={value}" for key, value in fields.items())
        line = f"{_time(record):%H:%M:%S} {record.levelname} {record.name}: {record.getMessage()}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line} {told}".rstrip() + trace


def configure_logs(settings: Logs) -> None:
    """Make our loggers write to standard error, which Ray keeps per process; once per process."""
    logger = logging.getLogger(ROOT)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextLines())
    logger.handlers = [handler]
    logger.setLevel(settings.level)
    logger.propagate = False


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:  # Any: JSON
    """Return what a record carries beside its message, given as ``extra={"fields": ...}``."""
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields
