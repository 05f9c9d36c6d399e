"""The sigmoid neuron: the perceptron made smooth."""

from dlcourse.models.perceptron import Perceptron


class SigmoidNeuron(Perceptron):
    """Output σ(z) = 1 / (1 + e^−z) in (0, 1), z = Σ_j w_j x_j + b; one unit or one a class.

    The weighted input is the perceptron's; the smooth output function belongs to the loss (``bce``), and with it the
    neuron is logistic regression. Lecture: L2, L3.
    """
