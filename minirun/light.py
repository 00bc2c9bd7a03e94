"""Light imports: what stands for heavier standard modules on the way of `run`, `exec`, `start`, `stop` and `ps`.

A container starts in some 30 ms, 8 of which the bare interpreter takes, so a module that costs milliseconds to import
has no place on that way. Measured over `python3 -IS`, in milliseconds of CPU:

    os 2, struct 1, signal 7, socket 9, enum 6, re 10, json 10, typing 16, subprocess 16, dataclasses 21, asyncio 52

Most of a module's price is its Python half; the C half that does the work is there at once. So on the hot path

    from minirun.light import TYPE_CHECKING, os, signal, socket, struct

gives `posix`, `_signal`, `_socket` and `_struct` under the names that a reader knows; what only the Python half has
(`os.path`, `os.makedirs`, `socket.create_connection`, the enums of `signal`) is not in them. TYPE_CHECKING is a
constant here, because `typing` is 16 ms. JSON goes through `minirun.jsoncodec`. A module off the hot path imports the
standard modules like any Python program. tests/unit/test_hot_path.py holds which verbs load nothing heavy.

The same matters for memory: the idle shim of each container keeps what it has imported, 250 KiB for `os` alone.
"""

import posix as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _signal as signal  # type: ignore[import-not-found]
    import _socket as socket
    import _struct as struct
else:

    def __getattr__(name: str) -> object:
        """The C half of `signal`, `socket` or `struct`, imported when it is first asked for (PEP 562)."""
        if name in ("signal", "socket", "struct"):
            module = globals()[name] = __import__(f"_{name}")
            return module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TYPE_CHECKING", "os", "signal", "socket", "struct"]
