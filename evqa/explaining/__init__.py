"""What a scorer's score of one video depends on: its first seconds, each second, picture, sound and text."""
