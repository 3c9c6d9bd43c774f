"""Tables, paired tests and pictures of a set of runs. Import the modules; this package loads nothing by itself."""
