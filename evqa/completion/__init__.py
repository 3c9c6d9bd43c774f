"""Tab completion: the words of commands, flags, groups, options and keys, as one script for a shell."""
