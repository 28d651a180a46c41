"""What asv measures: one file per concern, every rate through `rate.Rate`."""
