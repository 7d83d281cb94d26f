"""The databases that archives lie in: their URLs, how they are opened, and what they say when that fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.exceptions import OptunaError, StorageInternalError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from search_spaces.errors import DamagedFileError, HwnasError, NotReadyError

N_ATTEMPTS = 5  # to make a study that another process is making too
PATIENCE = 30  # seconds that SQLite waits for another process
REMEDIES = {  # by a word of what the database says
    "is locked": "another process is using it; try again when that has ended",
    "disk is full": "make room, and the same command goes on",
    "disk i/o": "make room, and the same command goes on",
    "readonly": "make it writable, and the same command goes on",
    "unable to open": "make its folder readable and writable, and the same command goes on",
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def translate_errors(shown: str) -> Iterator[None]:
    """Turn what a database raises into one sentence.

    Args:
        shown: Its URL, without a password.
    """
    try:
        yield
    except HwnasError:
        raise
    except (SQLAlchemyError, OptunaError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        root = _root(error)
        reason = (str(root).splitlines() or [type(root).__name__])[0]
        remedy = next((text for word, text in REMEDIES.items() if word in reason.lower()), None)
        if remedy:
            raise NotReadyError(f"the archive '{shown}' cannot be used now ({reason}); {remedy}") from error
        if shown.startswith("sqlite"):
            raise DamagedFileError(f"the archive '{shown}' cannot be read ({reason}); move it away to start anew") from error
        raise NotReadyError(f"the archive '{shown}' cannot be read ({reason}); is the server there?") from error


def _root(error: BaseException) -> BaseException:
    """Return the error that caused an error: Optuna wraps those of the database."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def open_study(name: str, url: str, identity: dict[str, str]) -> tuple[optuna.Study, dict[str, str]]:
    """Return the study and its identity; made if it is not there, also where two processes make it at the same moment."""
    for attempt in range(N_ATTEMPTS):
        try:
            study = optuna.create_study(
                study_name=name, storage=open_storage(url), directions=["minimize"], load_if_exists=True
            )
            if "identity" not in study.user_attrs:
                study.set_user_attr("identity", identity)
            return study, study.user_attrs["identity"]
        except (IntegrityError, OperationalError, ProgrammingError, StorageInternalError) as error:
            if attempt == N_ATTEMPTS - 1 or "is locked" in str(_root(error)):  # it has been waited for
                raise
            time.sleep(0.2)
    raise AssertionError("unreachable")


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Return what Optuna opens, without connections that stay open between uses; PostgreSQL by psycopg 3.

    Raises:
        NotReadyError: If the driver is missing.
    """
    if url.startswith("postgresql:"):
        if find_spec("psycopg") is None:
            raise NotReadyError(
                "an archive on PostgreSQL needs its driver; install it with `pip install 'hwnas[postgresql]'`"
            )
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    settings = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite:") else {}
    return optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool, **settings})


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file at any path, whatever a URL would take its letters for.

    Source: SQLite's URI filenames, https://www.sqlite.org/uri.html, for SQLAlchemy before 2.1, which escapes nothing;
        Optuna takes braces for its own.
    """
    plain = str(path.resolve())
    url = URL.create("sqlite", database=plain).render_as_string(hide_password=False)
    return url if make_url(url).database == plain and "{" not in url else f"sqlite:///file:{quote(plain)}?uri=true"


def owner(storage: str, study: str, claimed_by: str) -> str:
    """Return to whom a study belongs; if it is not there it is made for `claimed_by`.

    Raises:
        DamagedFileError: If the database cannot be opened.
    """
    with translate_errors(without_password(storage)):
        return open_study(study, storage, {"owner": claimed_by})[1]["owner"]


def has_study(storage: str, study: str) -> bool:
    """Return whether a database holds a study; one that is not there is made.

    Raises:
        DamagedFileError: If it cannot be opened.
    """
    with translate_errors(without_password(storage)):
        return study in optuna.study.get_all_study_names(open_storage(storage))


def drop_study(storage: str, study: str) -> None:
    """Remove a study from a database, if it is there.

    Raises:
        DamagedFileError: If it cannot be opened.
    """
    with translate_errors(without_password(storage)), suppress(KeyError):
        optuna.delete_study(study_name=study, storage=open_storage(storage))


def without_password(storage: str) -> str:
    """Return a database URL as it may be shown."""
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return storage
