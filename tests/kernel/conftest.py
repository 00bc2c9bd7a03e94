"""Lets the tests here import what they share: `network_host` from this directory, `throwaway` from the one above."""

import os
import sys

sys.path[:0] = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]
