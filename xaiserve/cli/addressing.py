"""Which cluster a command speaks to: ``--address``, else what Ray's variables name."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.dispatch.submission import JobServer

ADDRESS: Final = "http://127.0.0.1:8265"
VARIABLE: Final = "RAY_API_SERVER_ADDRESS"

_CLUSTER: Final = "RAY_ADDRESS"


def address_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take ``--address`` of a cluster's dashboard."""
    return click.option(
        "--address",
        default=lambda: named_address(os.environ),  # noqa: TID251 -- the command line may
        show_default=f"{VARIABLE}, {_CLUSTER}, {ADDRESS}",
        help="The cluster's dashboard.",
    )(command)


def named_address(environment: Mapping[str, str]) -> str:
    """Return the dashboard that Ray's variables name, or that of a cluster on this machine.

    ``RAY_ADDRESS`` may be the address of a cluster's store instead, which says nothing of it.
    """
    cluster = environment.get(_CLUSTER, "")
    return environment.get(VARIABLE) or (cluster if "://" in cluster else ADDRESS)


def job_server(address: str) -> "JobServer":
    """Connect to the job server at ``address``, whatever the environment says.

    Raises
    ------
    InvalidInputError
        Nothing answers there, or it refuses the token.
    """
    from xaiserve.dispatch.submission import JobServer

    # Ray's client lets both variables, this one first, win over the address that it is given.
    named = {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}  # noqa: TID251
    os.environ[VARIABLE] = address  # noqa: TID251 -- the command line may
    try:
        return JobServer(address)
    finally:
        del os.environ[VARIABLE]  # noqa: TID251 -- as above
        os.environ.update(named)  # noqa: TID251 -- as above
