"""Recommender models: user encoders over shared item vectors."""

from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.models.base import Model
from pareto_rec.models.self_attention import SelfAttention

MODELS: dict[str, Model] = {model.name: model for model in (AttentionPooling(), SelfAttention())}
