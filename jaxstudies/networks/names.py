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
_Data = Literal["leaky_0.001", "leaky_0.01", "leaky_0.1", "leaky_0.3", "positive_bias", "sign_flips"]
_Form = Literal["rai", "orthogonal", "elu", "gelu", "residual", "batch_norm", "double_width", "quadruple_width"]
RemedyName = Literal["none", _Data, _Form]
