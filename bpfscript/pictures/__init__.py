"""Pictures of what a script collected, as SVG: flame graphs, histograms, time series."""
