"""The machine that a process runs on: its cores, and child processes that end with their parent and cannot end it."""
