"""The machine that a process runs on: its cores, and child processes that neither harm nor outlive their parent."""
