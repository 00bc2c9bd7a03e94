"""Who is told how a pull or a push goes on: `cli.pull_progress` prints it."""

from __future__ import annotations


class Witness:
    """Who is told how a pull goes on; this one keeps it to himself. Several threads may call.

    Attribute: begun (bool), whether a registry was found that has the image.
    """

    begun = False

    def say(self, line: str) -> None:
        """A line of Docker's."""

    def layer(self, digest: str, word: str) -> None:
        """What has become of a layer: "Pulling fs layer", "Pull complete" ..."""

    def passed(self, digest: str, count: int, total: int) -> None:
        """So many bytes of a layer are here."""
