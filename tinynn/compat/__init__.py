"""The module paths of old Keras listings: nothing but re-exports.

``from keras.layers.core import Dense`` becomes ``from tinynn.compat.keras.layers.core import Dense``.
"""
