"""keras.layers.embeddings"""

from tinynn.layers import Embedding

__all__ = ["Embedding"]
