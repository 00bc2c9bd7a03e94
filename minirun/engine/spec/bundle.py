"""Write a container's bundle: config.json and the files that it names (OCI runtime-spec, bundle.md).

The bundle is written anew at each start, in the container's run directory. It is all that the runtime knows of the
container.
"""

from __future__ import annotations

from minirun import store
from minirun.engine.spec import etc_files, specgen, users
from minirun.engine.volume import mountpoints
from minirun.image.snapshot import overlayfs, read_file
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.engine.container.container import Container


def write(container: Container, size: tuple[int, int] | None = None) -> None:
    """Write the bundle: config.json, the empty directory on which the root will be mounted, the three /etc files.

    Arguments: size, rows and columns of the terminal, if there is one. Errors: EngineError for a user that the image
    does not have; KernelError for a full disk.
    """
    with step("write config.json"):
        record = container.record
        root = overlayfs.mount(container.layers(), container.directory, volatile=record["HostConfig"]["AutoRemove"])
        joined = links = None
        if record["HostConfig"]["NetworkMode"].startswith("container:"):
            from minirun.engine.network import shared_netns  # few containers share another one's network

            joined = shared_netns.prepare(container)
        spec = specgen.generate(
            record, resolve_user(container, record["Config"]["User"]), root, container.daemon, joined
        )
        if record.get("Links"):
            from minirun.engine.network import legacy_links  # nor are many linked

            links = legacy_links.Links(container)
            spec["process"]["env"] = links.process_env(record["Config"]["Tty"])
        if size:
            spec["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
        for source in mountpoints.missing_sources(record):
            store.make_directory(source, 0o755)
        for point in record["MountPoints"]:
            if point["Type"] == "volume":
                _finish_copy(container, point)
            if point["Propagation"] not in ("", "rprivate"):
                with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
                    mountpoints.validate_propagation(point, mountinfo.read())
        store.make_directory(spec["root"]["path"])
        if not joined:
            etc_files.write(container, links.hosts if links else ())
        store.write(f"{container.run_directory}/config.json", spec)


def _finish_copy(container: Container, point: dict) -> None:
    """Complete the copy of the image's files into a volume, if a killed `create` has left it incomplete."""
    if store.exists(f"{point['Source'].removesuffix('_data')}.filled"):
        from minirun.engine.volume import populate

        populate.finish_copy(container.daemon, point["Name"])


def resolve_user(container: Container, user: str) -> users.User:
    """The uid and gids of "USER[:GROUP]", by the image's and the container's own /etc/passwd and /etc/group."""
    stack = overlayfs.stack(container.layers(), container.directory)
    return users.resolve(
        user,
        read_file.read_file(stack, "etc/passwd"),
        read_file.read_file(stack, "etc/group"),
        container.record["HostConfig"]["GroupAdd"],
    )
