"""Tables: read from files, encoded as inputs and outputs of a network, and decoded again."""
