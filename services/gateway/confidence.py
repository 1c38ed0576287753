"""The confidence of the intervals that people are shown."""

from statistics import NormalDist

LEVEL = 0.95
# The normal distribution is within so many standard deviations of its mean with that probability.
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
