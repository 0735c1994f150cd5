"""Networks behind one small protocol, and the zoo that names them."""
