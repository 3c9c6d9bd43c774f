"""What `python -m evqa.benchmark` measures: the data path beside the published code's, training, scoring."""
