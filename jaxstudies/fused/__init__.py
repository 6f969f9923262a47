"""Whole epochs of small networks in one kernel, in which a lane is a network; `training.fit` uses it by itself."""
