"""Engine of the asset lists: filters, totals, pages and tag histograms."""
