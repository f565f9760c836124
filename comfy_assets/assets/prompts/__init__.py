"""Assets in prompts: references in submitted graphs and recorded outputs."""
