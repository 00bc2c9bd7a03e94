"""`--volumes-from`: mount what another container has mounted, at the same places.

It is the oldest way to share files between containers: volumes without a name can be shared by nothing else. All mounts
come along, bind mounts too, but not what `--tmpfs` has made. What this container's own `-v` or `--mount` says of a
place holds; where the image wants a volume, the other container's is it.
"""

from __future__ import annotations

from minirun.engine.container import index
from minirun.engine.volume import mountpoints, volumes
from minirun.errors import BadParameter, NoSuchContainer
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.container.container import Container


def apply(container: Container) -> None:
    """Add the mount points of the containers in HostConfig.VolumesFrom to those of a new container.

    Errors: BadParameter, in Docker's words, for a container that is not there, or a bad mode.
    """
    record = container.record
    inherited: dict[str, dict] = {}
    for text in record["HostConfig"]["VolumesFrom"]:
        word, writable = _read(text)
        try:
            other = index.find(container.daemon, word)
            points, anonymous = other.record["MountPoints"], volumes.of_container(other.directory, "Anonymous")
        except NoSuchContainer as error:
            raise BadParameter(error.message) from None
        for point in points:
            new = {**point, "Mode": "", "RW": point["RW"] and writable}
            if point["Type"] == "volume":
                new |= {"NoCopy": True, "Anonymous": point["Name"] in anonymous}
            inherited[point["Destination"]] = new
    own = [
        point for point in record["MountPoints"] if not (_is_from_image(point) and point["Destination"] in inherited)
    ]
    taken = {point["Destination"] for point in own}
    record["MountPoints"] = own + [point for place, point in inherited.items() if place not in taken]


def _read(text: str) -> tuple[str, bool]:
    """The container, and whether it may be written to: "web", "web:ro", "web:rw,z"."""
    if not text:
        raise BadParameter("volumes-from specification cannot be an empty string")
    word, colon, mode = text.partition(":")
    words = mode.split(",")
    if colon and not (mountpoints.is_mode(mode) and {"ro", "rw", "z", "Z", ""}.issuperset(words)):
        raise BadParameter(f"invalid mode: {mode}")
    return word, "ro" not in words


def _is_from_image(point: dict) -> bool:
    """Whether only the image's Config.Volumes asks for it."""
    return point["Type"] == "volume" and not point["Name"] and not point["Mode"]
