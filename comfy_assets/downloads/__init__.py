"""Files from other servers: links to them, transfers that can be continued, and the keys of providers."""
