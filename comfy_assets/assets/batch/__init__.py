"""Changes of many assets by one request, each of which can be undone."""
