"""Independent implementations that the tests compare tidlq with."""
