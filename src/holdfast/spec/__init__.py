"""holdfast.yaml to models: document -> readers -> layers -> resolve -> load; then check and explain. See model.py.

Reading needs the recipes and is given them; callers use holdfast.recipes (load, read, check, effective).
"""
