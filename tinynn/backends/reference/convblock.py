"""A convolution and what follows it, as one."""
