"""The thread limit of the C core, known to threadpoolctl where somebody uses that package."""

from __future__ import annotations

import sys

from fastnn.backends.threads import MOST, get_num_threads

__all__ = ["register", "register_where_imported"]

_registered = False


class Unlimited(int):
    """The number of threads while there is no limit; to set it as one lifts the limit.

    threadpoolctl restores a limit by setting the number that it found. Were that a plain number,
    the first limit that is restored would become one that stays.
    """


def register() -> None:
    """Make the thread limit of the C core known to threadpoolctl.

    The first network does it by itself where threadpoolctl has been imported by then. Who imports
    it later calls this once; to call it again changes nothing.

    Raises
    ------
    ImportError
        When threadpoolctl is not installed, or is older than 3.2.

    Examples
    --------
    >>> import threadpoolctl
    >>> register()
    >>> with threadpoolctl.threadpool_limits({"fastnn": 1}):
    ...     [told] = threadpoolctl.ThreadpoolController().select(user_api="fastnn").info()
    >>> told["num_threads"]
    1
    """
    global _registered
    import threadpoolctl

    # threadpoolctl has no types, so that its class is Any.
    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        """Reads and sets the limit of the library that this is about."""

        user_api = internal_api = "fastnn"
        filename_prefixes = ("_core.",)  # many packages have such a file: the symbol tells ours
        check_symbols = ("fnn_thread_limit",)

        def get_num_threads(self) -> int:
            limit: int = self.dynlib.fnn_thread_limit()
            return limit or Unlimited(get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            lifted = isinstance(num_threads, Unlimited)
            self.dynlib.fnn_limit_threads(0 if lifted else max(1, min(num_threads, MOST)))

        def get_version(self) -> None:
            return None  # the library has none; that of the package is `fastnn.__version__`

    if not _registered:
        threadpoolctl.register(Controller)
        _registered = True


def register_where_imported() -> None:
    """Register if threadpoolctl has been imported, and is new enough to be told of libraries."""
    if not _registered and hasattr(sys.modules.get("threadpoolctl"), "register"):
        register()
