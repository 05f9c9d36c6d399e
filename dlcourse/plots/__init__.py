"""Plots: curves, matrices, planes and pictures, as SVG or PNG. Independent of runs and models."""
