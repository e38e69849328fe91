# The names in descriptions and Programs, and the constants of C that they mean.

DTYPES = {"float32": FNN_FLOAT32, "float64": FNN_FLOAT64}
FUNCTIONS = {
    "identity": FNN_IDENTITY,
    "heaviside": FNN_HEAVISIDE,
    "sigmoid": FNN_SIGMOID,
    "tanh": FNN_TANH,
    "relu": FNN_RELU,
    "leaky_relu": FNN_LEAKY_RELU,
    "elu": FNN_ELU,
    "selu": FNN_SELU,
    "gelu": FNN_GELU,
    "gelu_tanh": FNN_GELU_TANH,
    "silu": FNN_SILU,
    "softplus": FNN_SOFTPLUS,
    "softsign": FNN_SOFTSIGN,
    "mish": FNN_MISH,
    "sine": FNN_SINE,
    "exp": FNN_EXP,
}
LOSSES = {
    "mse": FNN_MSE,
    "mae": FNN_MAE,
    "huber": FNN_HUBER,
    "quantile": FNN_QUANTILE,
    "cross_entropy": FNN_CROSS_ENTROPY,
    "binary_cross_entropy": FNN_BINARY_CROSS_ENTROPY,
    "poisson": FNN_POISSON,
    "hinge": FNN_HINGE,
}
# Of a loss of one's own: the loss that counts the same outputs as right.
LOSS_OF_TARGETS = {
    "values": FNN_MSE,
    "counts": FNN_MSE,
    "probabilities": FNN_BINARY_CROSS_ENTROPY,
    "signs": FNN_HINGE,
}
HEADS = {
    "identity": FNN_HEAD_IDENTITY,
    "softmax": FNN_HEAD_SOFTMAX,
    "sigmoid": FNN_HEAD_SIGMOID,
    "exp": FNN_HEAD_EXP,
}
OPS = {
    "dense": FNN_OP_DENSE,
    "activation": FNN_OP_ACTIVATION,
    "softmax": FNN_OP_SOFTMAX,
    "dropout": FNN_OP_DROPOUT,
    "layer_norm": FNN_OP_LAYER_NORM,
    "batch_norm": FNN_OP_BATCH_NORM,
    "gate": FNN_OP_GATE,
    "add": FNN_OP_ADD,
    "concat": FNN_OP_CONCAT,
    "slice": FNN_OP_SLICE,
}
OPTIMIZERS = {
    "sgd": FNN_SGD,
    "adam": FNN_ADAM,
    "adamw": FNN_ADAM,
    "rmsprop": FNN_RMSPROP,
    "adagrad": FNN_ADAGRAD,
    "nadam": FNN_NADAM,
    "lion": FNN_LION,
}
