"""Multimodal models. One model is one module here and one YAML in conf/model."""
