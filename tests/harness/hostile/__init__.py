"""Malformed and malicious images: tars, layers, archives and registry answers that an image reader must refuse."""
