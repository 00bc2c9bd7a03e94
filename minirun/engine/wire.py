"""What a relay and a watcher say to each other (unix(7), SOCK_SEQPACKET: each message arrives whole).

By a message's first byte:

    client → relay    h flags      what this client wants to see (first message of one that connected by itself)
                      i bytes      standard input            e          its end
                      w rows cols  size of the window        s number   a signal for the process
    relay → client    o bytes      standard output           r bytes    standard error
                      x code       it has ended; the last message
"""

from __future__ import annotations

#: What a client wants, in the message "h".
WANTS_STDIN, WANTS_STDOUT, WANTS_STDERR = 1, 2, 4
#: The most bytes of a stream in one message.
BLOCK = 32768
