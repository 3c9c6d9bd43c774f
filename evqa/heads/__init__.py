"""Ways to get a number out of a language model. One head is one module and one YAML in conf/head."""
