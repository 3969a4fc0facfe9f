"""What is alive in this process, set aside from the garbage collector while it stays the same.

A collection of everything walks each object that a framework brought with it: 5 to 20 ms. What was
walked once and is still alive when the next run begins need not be walked again, so that a run of
one query begins as clean as one of thousands, in less than a millisecond.
"""

import gc

MOST_USES = 64
"""After so many runs everything is walked again: cycles among what was set aside are freed then."""


class Heap:
    """The collector's view of this process; there is one, `heap`."""

    def __init__(self) -> None:
        self._uses = 0
        """Runs since everything was walked; 0: it must be."""

    def settle(self, generation: int = 2) -> None:
        """Free what is garbage and set aside all else.

        generation: of what is new, this one and the younger are looked at.
        """
        if not 0 < self._uses < MOST_USES:
            gc.unfreeze()
            generation, self._uses = 2, 0
        gc.collect(generation)
        gc.freeze()
        self._uses += 1

    def changed(self) -> None:
        """A model was opened or closed: what it leaves behind is freed before the next run."""
        self._uses = 0


heap = Heap()
