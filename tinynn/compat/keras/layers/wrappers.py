"""keras.layers.wrappers"""

from tinynn.layers import Bidirectional, TimeDistributed

__all__ = ["Bidirectional", "TimeDistributed"]
