"""Reasons for a verdict in attribute words, tested by erasing each word."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
