"""From a media file to frames and sound: sampling, decoding, resizing, filter bank."""
