"""What a model is asked: conversations, how they are worded, and their tokens."""
