"""What authors of plugins need: hooks, records, base classes and helpers.

Names are imported when they are first used, since a plugin that is only listed must not import
torch; ``plugin.pyi`` lists where each is defined.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__package__, __file__)
