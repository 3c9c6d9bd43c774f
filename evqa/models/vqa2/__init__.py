"""VQA² (Jia et al., 2024): LLaVA-OneVision with a motion branch; scores are read from the logits of five words."""
