"""What people are told: views, sentences, incidents, evidence, alerts."""
