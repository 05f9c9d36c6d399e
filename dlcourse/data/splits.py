"""Which row is in which part."""

SMALL = 20  # fewer rows than this are not split
TEST_FRACTION = 0.2
TEST_SEED = 20  # a constant: no choice of seed moves a row into or out of the test set
