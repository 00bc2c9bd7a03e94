"""The controller: which networks there are, and what they need in the kernel (libnetwork's Controller).

User-defined networks are kept below the data root and survive a reboot, as do `host` and `none`; the default network,
`bridge`, is planned anew after each boot. dockerd sets all of them up when it starts. minirun, which has no daemon,
does it at the first start of a container after a boot, and again when a bridge was deleted or a rule changed.

Files:
    <data>/networks/ID.json      the record of a user-defined network; host.json and none.json
    <run>/networks/ifindex       the lock (flock) on all networks, and the next interface index as its content
    <run>/networks/rules         the ruleset generation under which all firewall rules were in place
    <run>/networks/KEY/          the volatile files of one network (see `network.network`)

A record below the data root is what makes a network: it is written last when one is created, and deleted first when one
is removed. Volatile files without a record are an *orphan* of a command that was killed in between; the next command
that holds the lock removes it.
"""

from __future__ import annotations

from minirun import jsoncodec, rmtree, store
from minirun.errors import EngineError, MinirunError, NoSuchNetwork
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.network.daemon_config import Settings
from minirun.network.iptables import generation
from minirun.network.network import Network
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Controller:
    """All networks of one data root and one exec root.

    Arguments: data (str), the data root; run (str), the exec root; settings, called for the settings of the config file
    when they are needed first: a command that needs none of them works with a damaged config file too.
    """

    __slots__ = ("_load_settings", "_settings", "data", "run")

    def __init__(self, data: str, run: str, settings: Callable[[], Settings] = Settings) -> None:
        self.data, self.run, self._load_settings = data, run, settings
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """What the config file says about networks."""
        if self._settings is None:
            self._settings = self._load_settings()
        return self._settings

    def lock(self) -> store.lock:
        """The lock on all networks; `.fd` is the open file with the next interface index."""
        return store.lock(f"{self.run}/networks/ifindex")

    # ---- finding networks --------------------------------------------------------------------------------------

    def find(self, name: str) -> Network:
        """The network with this name, ID, or beginning of an ID.

        Errors: NoSuchNetwork; EngineError when the beginning of an ID fits several.
        """
        if name in (predefined.BRIDGE, "default"):
            return self.default()
        found = self.every()
        for matches in (
            [network for network in found if network.id == name],
            [network for network in found if network.name == name],
            [network for network in found if name and network.id.startswith(name)],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise EngineError(f"{len(matches)} matches found based on ID prefix: network {name} is ambiguous")
        raise NoSuchNetwork(name)

    def every(self) -> list[Network]:
        """All networks, sorted by name, with `bridge`, `host` and `none`."""
        return sorted([self.default(), *self.stored()], key=lambda network: network.name)

    def stored(self) -> list[Network]:
        """The networks below the data root: all but the default one."""
        return [Network(self.run, {**record, "Data": self.data}, self.settings) for record in self._stored_records()]

    def default(self) -> Network:
        """The network `bridge`; it need not be set up yet."""
        record = self._saved_default()
        if record is None:
            from minirun.network import default_bridge  # only after a boot, or when the config file has changed

            store.make_directory(f"{self.run}/networks/{predefined.BRIDGE}/cables")
            with self.lock():
                record = self._saved_default() or default_bridge.plan(
                    self.run, self.settings, list(self._stored_records())
                )
        return Network(self.run, record, self.settings)

    def _saved_default(self) -> dict | None:
        """The record of `bridge`, if it is of this boot and network namespace and of these settings; else None."""
        settings = self.settings
        try:
            record = store.read(f"{self.run}/networks/{predefined.BRIDGE}/network.json")
            is_current = record["Host"] == generation.host() and record["Settings"] == settings.given
        except (OSError, MinirunError, LookupError):  # none yet, or a damaged record: it will be made
            return None
        return record if is_current else None

    def _stored_records(self) -> Iterator[dict]:
        """The records below the data root; those of `host` and `none` are made when they are not there yet."""
        directory = f"{self.data}/networks"
        names = store.names(directory)
        if "host.json" not in names or "none.json" not in names:
            from minirun.network import create_options

            store.make_directory(directory)
            for name in ("host", "none"):
                record = create_options.new_record(name, predefined.DRIVERS[name])
                store.reserve(f"{directory}/{name}.json", jsoncodec.dumps(record))
            names = store.names(directory)
        for name in names:
            if name.endswith(".json"):
                try:
                    yield store.read(f"{directory}/{name}")
                except FileNotFoundError:  # removed in the meantime
                    continue

    def with_volatile_files(self) -> list[Network]:
        """The networks that are set up in the kernel, were, or were about to be, by their volatile files.

        Those of another data root that are set up by way of the same exec root are among them.
        """
        found = []
        for key in store.names(f"{self.run}/networks"):
            try:
                record = store.read(f"{self.run}/networks/{key}/network.json")
            except (OSError, MinirunError):  # not the directory of a network, or a damaged file
                continue
            found.append(Network(self.run, record, self.settings))
        return found

    # ---- setting up --------------------------------------------------------------------------------------------

    def ensure_default(self) -> Network:
        """The network `bridge`, with minirun0 and its firewall rules in place. Errors: see `ensure`."""
        network = self.default()
        self.ensure(network)
        return network

    def ensure(self, network: Network) -> None:
        """Have a network's link and all firewall rules in the kernel.

        Almost always all is there, and what this costs is to read two files and three facts of the kernel.
        Errors: MinirunError, for example for a missing iptables; nothing is left in the kernel then.
        """
        if network.has_bridge and not self.is_set_up(network):
            with step("lay the networks"):
                self._set_up_all(needed=network)

    def is_set_up(self, network: Network) -> bool:
        """Whether a network's link is there, and the firewall rules are those that we made last."""
        return network.is_link_present() and (not self.settings.iptables or generation.is_unchanged(self.run))

    def reload(self) -> list[MinirunError]:
        """What dockerd does when it starts: fill our chains anew, restore the bridges, apply the config file.

        Bridges that were deleted by hand are made again, and the veths of their containers become their ports again;
        the rules of published ports come back. The chain MINIRUN-USER stays as it is.
        Returns: what went wrong with single networks.
        """
        from minirun.network import default_bridge
        from minirun.network.ipam import default_pools

        default_pools.forget_position(self.run)
        with step("lay all networks anew"):
            store.make_directory(f"{self.run}/networks/{predefined.BRIDGE}/cables")
            with self.lock():
                default_bridge.plan(self.run, self.settings, [network.record for network in self.stored()])
            return self._set_up_all(flush=True)

    def _set_up_all(self, *, needed: Network | None = None, flush: bool = False) -> list[MinirunError]:
        """Set all networks up. The caller does not hold the lock.

        Arguments: needed, the one that must not fail, else the default one; flush, see `bridge.setup.set_up`.
        Returns: what went wrong with others.
        """
        from minirun.network.bridge import setup  # only the first start after a boot, or after a change from outside

        default = self.default()
        with self.lock() as lock:
            if needed is not None and self.is_set_up(needed):
                return []  # by another command, while we waited for the lock
            self._remove_orphans()
            networks = self._in_setup_order(default)
            must = [network for network in networks if network.id == (needed or default).id]
            return setup.set_up(
                networks, self.settings, lock.fd, needed=must, flush=flush or "Before" in default.record
            )

    def _in_setup_order(self, default: Network) -> list[Network]:
        """All networks that have a bridge, in dockerd's order: by their IDs, the default one last.

        With them go those of another data root with the same exec root: the firewall's chains are shared with them.
        """
        found = {
            network.id: network
            for network in self.with_volatile_files() + self.stored()
            if network.has_bridge and not network.is_default
        }
        return [*(found[network_id] for network_id in sorted(found)), default]

    # ---- create, remove, reset ---------------------------------------------------------------------------------

    def create(self, options: dict) -> Network:
        """Create a network, and set it up.

        Arguments: options, the body of the API's POST /networks/create: "Name", "Driver", "Internal", "Attachable",
        "EnableIPv6", "IPAM", "Options", "Labels". Errors: EngineError with Docker's text; nothing is left then.
        """
        from minirun.network import create_options
        from minirun.network.bridge import setup
        from minirun.network.ipam import default_pools

        default = self.default()
        with step(f"make the network {options['Name']}"), self.lock() as lock:
            self._remove_orphans()
            present = self._in_setup_order(default)
            others = [network.record for network in self.stored()] + [default.record]
            record = create_options.record_of(
                options, others, lambda ipv6: default_pools.allocate(self.run, self.settings, others, ipv6=ipv6)
            )
            network = Network(self.run, {**record, "Data": self.data}, self.settings)
            try:
                setup.set_up([*present, network], self.settings, lock.fd, needed=[network])
                store.write(f"{self.data}/networks/{network.id}.json", record, durable=True)
            except BaseException:
                if network.is_link_present():  # the record could not be written, perhaps for a full disk
                    setup.tear_down(network, self.settings)
                rmtree.remove_tree(network.directory)
                raise
        return network

    def remove(self, network: Network) -> None:
        """Remove a network. Errors: EngineError for a predefined one, or one with endpoints."""
        from minirun.network.bridge import setup
        from minirun.network.ipam import address_pool

        if network.is_predefined:
            raise EngineError(f"{network.name} is a pre-defined network and cannot be removed")
        store.make_directory(f"{self.run}/networks")
        with step(f"remove the network {network.name}"), self.lock():
            if store.exists(network.directory) and address_pool.reservations(network.directory):
                raise EngineError(
                    f"error while removing network: network {network.name} id {network.id} has active endpoints"
                )
            store.discard(f"{self.data}/networks/{network.id}.json")
            setup.tear_down(network, self.settings)
            self._remove_orphans()

    def orphans(self) -> list[Network]:
        """Networks whose `create` or `remove` was killed: volatile files without a record below the data root."""
        if not store.names(f"{self.run}/networks"):
            return []
        with self.lock():
            return self._orphans()

    def remove_orphans(self) -> None:
        """Tear down the networks whose `create` or `remove` was killed."""
        with self.lock():
            self._remove_orphans()

    def _remove_orphans(self) -> None:
        """The same for a caller that holds the lock."""
        for network in self._orphans():
            from minirun.network.bridge import setup

            setup.tear_down(network, self.settings)

    def _orphans(self) -> list[Network]:
        return [
            network
            for network in self.with_volatile_files()
            if network.record.get("Data") == self.data and not store.exists(f"{self.data}/networks/{network.id}.json")
        ]

    def reset(self) -> list[str]:
        """Remove all that is ours from the kernel: veths, bridges, rules, chains; restore the sysctls.

        The networks themselves stay stored, and are set up again when they are needed; names in /run/netns are the
        engine's. Returns: what had to be left, and why. Errors: MinirunError.
        """
        from minirun.network import reset

        if not store.exists(f"{self.run}/networks"):
            return []
        with step("take all networks away"), self.lock() as lock:
            networks = [network for network in self.with_volatile_files() if network.has_bridge]
            return reset.reset(self.run, networks, lock.fd, iptables=self.settings.iptables)
