"""holdfast.yaml: from text to validated, fully resolved agent specifications."""
