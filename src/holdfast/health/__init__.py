"""Probes and beats turned into observations."""
