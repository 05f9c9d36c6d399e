"""Drawing: curves, matrices, planes and pictures, as SVG or PNG. Knows no run and no model."""
