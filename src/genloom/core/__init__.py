"""What every family and modality stands on: specs, configs, the loop, checkpoints, runs. Imports nothing else of
genloom."""
