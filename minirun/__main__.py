"""The first lines of minirun that Python runs: `python3 -IS .../minirun/__main__.py WORDS...`, as the launcher says."""

import sys

if sys.flags.no_site:
    sys.path.append(__file__.rpartition("/minirun/")[0])

from minirun.bootstrap import make_ready

make_ready()

from minirun.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
