"""Lets the tests here import what they share from this directory (`engine_samples`)."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
