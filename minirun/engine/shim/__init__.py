"""The process that stays with a container: stdio, log, attach protocol, exit code."""
