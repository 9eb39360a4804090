"""The pages of the studio: runs, data, a new training, a playground, a comparison (router.py joins them)."""
