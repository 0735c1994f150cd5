"""The xCos metric: grid cosine S, attention W, score = <S, W>."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
