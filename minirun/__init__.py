"""minirun: a container runtime small enough to read and real enough to use.

Six floors, each of which imports only from the floors below it (docs/inside.md walks through them):

    cli → lecture → engine → runtime | network | image → kernel → errors, trace, store
"""

__version__ = "0.1.0"
