"""Full-text search: the words of assets, graphs and jobs, and the indexing of them."""
