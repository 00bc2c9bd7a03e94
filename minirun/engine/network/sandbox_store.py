"""The stored state of a container's sandbox: cable.json in its run directory (libnetwork: sandbox_store.go).

    cable.json = {"Name", "Inode"      the name of the network namespace below /run/netns, and its inode
                  "Endpoints"          network name → endpoint (see `network.bridge.endpoint`)
                  "Interfaces"         {"eth": how many there have been}: an interface name is never used twice
                  "Ports", "Resolver"  what the shim serves: published ports, the DNS server. Ports is null while more
                                       may be reserved on the host than is stored here
                  "Pending"}           addresses may be reserved that are not in "Endpoints" yet

It is written before the kernel is changed, so that whatever a kill -9 leaves can be found and cleared.
"""

from __future__ import annotations

from minirun import store

#: The file itself.
FILE = "cable.json"
#: A file beside it: another container has joined the network namespace (`--network container:NAME`).
JOINED = "joined"
#: In a container's directory in the data root: a file for each container with a legacy link to it (see `legacy_links`).
PARENTS = "parents"


def read(run_directory: str) -> dict:
    """The sandbox of a container; one without endpoints while there is none."""
    try:
        return store.read(f"{run_directory}/{FILE}")
    except (FileNotFoundError, NotADirectoryError):
        return new()


def new(name: str = "", inode: int = 0) -> dict:
    """A sandbox without endpoints. Arguments: name (str) below /run/netns, or ""; inode (int) of the namespace."""
    return {"Name": name, "Inode": inode, "Endpoints": {}, "Interfaces": {}, "Ports": [], "Resolver": None}


def write(run_directory: str, sandbox: dict) -> None:
    """Write the file as a whole or not at all."""
    store.write(f"{run_directory}/{FILE}", sandbox)


def lock(run_directory: str) -> store.lock:
    """The lock for changing a sandbox: `with sandbox_store.lock(...): ...`.

    It keeps `network connect` apart from the shim's clean-up. Errors: FileNotFoundError when that is done.
    """
    return store.lock(f"{run_directory}/{FILE}.lock")


def endpoints(run_directory: str) -> dict[str, dict]:
    """The endpoints of a container by the names of their networks."""
    return read(run_directory)["Endpoints"]


def has_external_access(endpoint: dict) -> bool:
    """Whether packets leave the host by this network: not if it is `--internal`, nor with `none` and `host`."""
    return bool(endpoint.get("Gateway")) and "Internal" not in endpoint


def gateway_order(sandbox: dict) -> list[dict]:
    """The endpoints that could have the default route, the one that has it first.

    Docker's order: internal networks last, those with an IPv6 gateway before those without, then by name.
    """
    return sorted((endpoint for endpoint in sandbox["Endpoints"].values() if endpoint.get("Gateway")), key=gateway_rank)


def gateway_rank(endpoint: dict) -> tuple[bool, bool, str]:
    """The sort key of `gateway_order`."""
    return "Internal" in endpoint, not endpoint.get("IPv6Gateway"), endpoint["Network"]


def assign_interface(sandbox: dict, endpoint: dict) -> None:
    """Give an endpoint its interface name: the next ethN that this sandbox has not had yet."""
    if endpoint["IPAddress"]:
        prefix = endpoint["Interface"].rstrip("0123456789")
        count = sandbox["Interfaces"].get(prefix, 0)
        endpoint["Interface"] = f"{prefix}{count}"
        sandbox["Interfaces"][prefix] = count + 1
