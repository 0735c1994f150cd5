"""Who is it: candidates from a gallery, how uncertain the answer is, and which parts of the face it hangs on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
