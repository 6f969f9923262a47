"""The figures of the LeNet-5 study."""


def draw(runs):
    return {}
