"""Dead letters as a person sees them: a list, one of them as far as it can be read, sent again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bus.dead_letters import Letter
from bus.errors import InputError
from mlmodelscope.tables import Column, ago, console, print_json, print_rows, shortened

if TYPE_CHECKING:
    from mlmodelscope.client import Client

DUMPED_BYTES = 512
"""How much is shown of what is no MessagePack."""
LONG_BYTES = 256
EMPTY = "no dead letters: every message found somebody who could deal with it"
COLUMNS = [
    Column("number", right=True),
    Column("set aside", "at_ns", lambda at_ns: ago(at_ns, time.time_ns())),
    Column("type"),
    Column("subject"),
    Column("by", "consumer"),
    Column("bytes", right=True),
    Column("reason", show=lambda text: shortened(text, 120)),
]


async def show_all(client: Client, output: str) -> int:
    """Every letter, oldest first."""
    async with client:
        letters = await client.dead_letters.all()
    print_rows(output, [_row(letter) for letter in letters], COLUMNS, EMPTY)
    return 0


async def show_one(client: Client, number: int, output: str) -> int:
    """One letter with what it holds."""
    async with client:
        letter = await client.dead_letters.get(number)
    row = {**_row(letter), "readable": letter.message() is not None, "holds": holds(letter)}
    if output == "json":
        print_json(row)
    elif output == "csv":
        print_rows(output, [row], [])
    else:
        out = console()
        for name, value in row.items():
            if name not in ("holds", "at_ns"):
                out.print(f"{name:<9} {value}", markup=False)
        print_json(row["holds"])
    return 0


async def replay(client: Client, numbers: Sequence[int], every: bool, output: str) -> int:
    """Send letters again where they were said first."""
    if bool(numbers) == every:
        raise InputError("expected the numbers of dead letters, or --all: one of the two")
    async with client:
        dead = client.dead_letters
        letters = await dead.all() if every else [await dead.get(number) for number in numbers]
        for letter in letters:
            await dead.replay(letter)
    rows = [
        {"number": letter.number, "subject": letter.subject, "readable": bool(letter.message())}
        for letter in letters
    ]
    columns = [
        Column("number", right=True),
        Column("sent again to", "subject"),
        Column("readable", show=lambda can: "yes" if can else "no: it will come back"),
    ]
    print_rows(output, rows, columns, "no dead letters")
    return 0


def holds(letter: Letter) -> Any:
    """What a letter holds, as JSON can say it; of what is no MessagePack, its first bytes."""
    read = letter.read()
    if read is None:
        shown = letter.data[:DUMPED_BYTES]
        return {"hex": shown.hex(" "), "text": shown.decode("ascii", "backslashreplace")}
    return _plain(read)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case bytes():
            more = f" … of {len(value)} bytes" if len(value) > LONG_BYTES else ""
            return value[:LONG_BYTES].hex(" ") + more
        case _:
            return value if isinstance(value, str | int | float | bool | None) else str(value)


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "at_ns": letter.at_ns,
        "type": letter.kind or "?",
        "subject": letter.subject,
        "consumer": letter.consumer,
        "bytes": len(letter.data),
        "reason": letter.reason,
    }
