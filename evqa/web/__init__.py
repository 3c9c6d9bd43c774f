"""The page: score, explain, compare and ask in a browser, on loopback unless told otherwise."""
