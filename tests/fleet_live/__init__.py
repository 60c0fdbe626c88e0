"""The fleet for real: links, certificates, agents, instances, the launch API, the table service."""
