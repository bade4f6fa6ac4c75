"""Exact functions of Gaussian states under photon detectors."""
