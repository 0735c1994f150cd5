"""Ablation study."""
