"""The command web: the pages and the REST interface of a system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bus.errors import InputError
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def web(
    *,
    port: Annotated[int | None, Parameter(env_var="MLMS_WEB_PORT")] = None,
    host: Annotated[str | None, Parameter(env_var="MLMS_WEB_HOST")] = None,
    tokens: Annotated[Path | None, Parameter(env_var="MLMS_WEB_TOKENS")] = None,
    make_token: Annotated[bool, Parameter(negative="")] = False,
    where: Where = DEFAULT,
) -> int:
    """Serve the pages and the REST interface until Ctrl-C (docs/web.md, docs/rest.md).

    For example:

        mlmodelscope web

        mlmodelscope web --port 8080 --bus nats://10.0.0.5:4222

        mlmodelscope web --host 0.0.0.0 --tokens tokens.txt

        mlmodelscope web --host 0.0.0.0 --tokens tokens.txt --make-token

    Parameters
    ----------
    port
        Where to listen; 0 takes a free port. Default: 7480.
    host
        On which address. Default: 127.0.0.1, which only this machine reaches and where nobody
        logs in; any other needs --tokens.
    tokens
        A file of lines `role name token`, readable by you alone: who may look, run, publish,
        administer.
    make_token
        Where that file is not there, make it, with one token that may do everything, and print it.
    """
    given = {"port": port, "host": host, "tokens": tokens and str(tokens.expanduser())}

    async def command(client: Client) -> int:
        from bus.service import until_signalled
        from mlmodelscope import local

        if make_token and tokens is None:
            raise InputError("--make-token: expected --tokens FILE, where the token is to be kept")
        if make_token and tokens and (token := local.first_token(tokens.expanduser())):
            print(f"the first token (it may do everything; in {tokens}): {token}", flush=True)
        async with client, local.web(client, os.environ, **given) as url:
            print(f"MLModelScope is at {url}\nCtrl-C ends it.", flush=True)
            await until_signalled()
        return 0

    return run(command, where)
