"""What a script sees, as Python values: sessions, events, maps, stacks, histograms."""
