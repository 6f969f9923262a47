"""What can be chosen by name, known without importing what it names."""

from typing import Literal

_Common = Literal["tanh", "sigmoid", "relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu"]
_Rarer = Literal["softplus", "soft_sign", "relu6", "hard_tanh", "hard_sigmoid", "hard_silu", "log_sigmoid"]
ActivationName = Literal[_Common, _Rarer]
"""Elementwise activations, by their names in Flax."""

_JaxName = Literal["he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "normal"]
InitializerName = Literal[_JaxName, "pytorch_default", "keras_normal", "keras_uniform", "orthogonal", "rai"]

TargetName = Literal["abs", "x_sin_5x", "abs_x_sin_5x", "step_sin", "abs_sum_diff"]
DatasetName = Literal["mnist", "digits"]
DropoutPosition = Literal["activation", "pooled", "dense", "last"]
