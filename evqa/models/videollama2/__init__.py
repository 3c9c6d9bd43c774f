"""VideoLLaMA2.1-7B-AV, the challenge winner's model: see `model` for the class that a configuration builds."""
