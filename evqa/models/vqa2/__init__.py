"""VQA² (Jia et al., 2024): LLaVA-OneVision with a motion branch, whose scores are read from the logits of level words."""
