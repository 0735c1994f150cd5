"""The bench: measure how faithful explanations are to a network, in the same way for all methods."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
