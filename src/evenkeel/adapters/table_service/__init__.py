"""The table service as its callers see it: found through a DNS endpoint of the region, spoken to over HTTP."""
