"""netlink(7): the socket, and rtnetlink(7)'s and nfnetlink's few messages that a container's start needs."""
