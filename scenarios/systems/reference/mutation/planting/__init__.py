"""How bugs are planted in the reference engine, by the part that they break."""
