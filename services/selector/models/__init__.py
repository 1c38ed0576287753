"""What is known of models: public scores, names, prices and the configured deployments."""
