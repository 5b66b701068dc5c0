"""Recommender models: user encoders over shared item vectors."""

from pareto_rec.core.registry import Registry
from pareto_rec.models.attention_pooling import AttentionPooling
from pareto_rec.models.base import Model
from pareto_rec.models.self_attention import SelfAttention

MODELS: Registry[Model] = Registry(
    "model", {model.name: model for model in (AttentionPooling(), SelfAttention())}
)
