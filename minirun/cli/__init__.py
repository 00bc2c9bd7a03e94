"""Words only: options in, text out. One module for each group of verbs, loaded when the verb is used.

main.py            the way in: global options, the verb's module, the exit code
grammar.py         what a command line is made of, as data; the fast reader
kinds.py           how one word becomes a value (numbers, sizes, NAME=VALUE pairs ...)
pflag.py, click_commands.py, click_reader.py
                   the second reader, off the hot path: help, Docker's words for what is wrong, completion
complaint.py       what a person reads when something failed, and the exit code
run.py ...         the verbs themselves
"""
