"""Everything a caller can act on, as one tree.

::

    XaiServeError
    ├── InvalidInputError            the caller's image, target, option or path
    │   ├── TooLargeError            over a stated limit on bytes, side or pixels
    │   ├── UnsupportedMediaError    the bytes are no picture we read
    │   └── UntrustedModelError      loading would run code and nobody said that it may
    ├── NotFoundError                a model, method or job of that name does not exist
    │   └── ArtifactNotFoundError    a stored object does not exist
    ├── ConflictError                the output already holds something else
    ├── NoExplanationError           the method has no answer for this case
    ├── QueryBudgetError             the budget is spent and the method has nothing partial to give
    ├── CapacityError                full for now; come back after ``retry_after_s``
    │   └── KeyLimitError            one API key has asked as much as it may; others are let in
    ├── ModelUnavailableError        the model cannot be loaded, or no replica holds it
    ├── ClassifierFaultError         the model raised, or answered with NaN or a wrong shape
    ├── TrainingFailedError          a training diverged, or its workers keep dying
    ├── JobStoppedError              a job was cancelled, or too many of its rows hold errors
    ├── WorkerLostError              the process that worked on it died each time it tried
    └── StoreUnavailableError        bucket unreachable, or credentials missing or refused
"""


class XaiServeError(Exception):
    """Base of the tree; the message is one sentence for the caller."""


class InvalidInputError(XaiServeError):
    """The caller's image, target, option or path is wrong; the message names field and range."""


class TooLargeError(InvalidInputError):
    """Over a stated limit on bytes, side or pixels."""


class UnsupportedMediaError(InvalidInputError):
    """The bytes are no picture that we read."""


class UntrustedModelError(InvalidInputError):
    """Loading this model would execute code that came with it."""


class NotFoundError(XaiServeError):
    """A model, method or job of that name does not exist."""


class ArtifactNotFoundError(NotFoundError):
    """A stored object does not exist."""


class ConflictError(XaiServeError):
    """The output already holds something else."""


class NoExplanationError(XaiServeError):
    """The method has no answer for this case."""


class QueryBudgetError(XaiServeError):
    """The budget is spent and the method has nothing partial to give."""


class CapacityError(XaiServeError):
    """Full for now."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyLimitError(CapacityError):
    """One API key has asked as much as it may; the service has room for others."""


class ModelUnavailableError(XaiServeError):
    """The model cannot be loaded, or no replica holds it."""


class ClassifierFaultError(XaiServeError):
    """The model raised, or answered with NaN, a wrong shape or a wrong number of rows."""


class TrainingFailedError(XaiServeError):
    """A training cannot go on: it diverged, or its workers keep dying."""


class JobStoppedError(XaiServeError):
    """A job was cancelled, or too many of its rows hold errors; it can be run again."""

    def __init__(self, message: str, *, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled


class WorkerLostError(XaiServeError):
    """The process that worked on it died, each time it tried."""


class StoreUnavailableError(XaiServeError):
    """The bucket is unreachable, or credentials are missing or refused."""
