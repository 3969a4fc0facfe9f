"""Writes the golden bytes of messages that have none: run by hand when a message is new."""

from pathlib import Path

from bus.codec import encode
from bus.examples import EXAMPLES
from bus.messages import PROTOCOL

folder = Path(__file__).parent / "golden" / f"v{PROTOCOL}"
folder.mkdir(parents=True, exist_ok=True)
for kind, example in EXAMPLES.items():
    golden = folder / f"{kind.__name__}.hex"
    if not golden.exists():  # what was once recorded must decode for ever
        golden.write_text(encode(example).hex() + "\n")
