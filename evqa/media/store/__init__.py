"""Decoded clips on disk: shard files with an index that any number of processes and nodes read and fill at once.

One folder holds the clips of one specification; its files are

    spec.json           what was asked of the reader, for people
    <name>.shard        records, one after the other, each on a 4 KiB page (record.py)
    <name>.index        one line a record: content hash, offset, length (journal.py)
    <name>.used         empty; its time stamp says when the shard was last read (room.py)
    <hash>.claim        somebody is decoding this clip just now (claims.py)

Why this holds without locks, on a network file system, and through kill -9:

- A process appends only to shards that it created itself, so no two ever write to one file, and nothing that is
  published is ever changed.
- A record is published by one line in the index, written after the record was flushed to disk (fsync; on a network
  file system that is also what makes it visible to other nodes). A process that dies before leaves bytes that nobody
  refers to; one that dies in the middle of a line leaves a line whose checksum does not fit, which is skipped.
- Every record carries its key and checksums. What does not fit is a miss, said in the log, and written anew.
- Whoever wants to add a clip first creates its claim (O_EXCL: one creator wins), then reads the index again, and adds
  only what is still missing; the claim goes after the line is published. So each clip is stored once.
"""
