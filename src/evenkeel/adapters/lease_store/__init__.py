"""The lease store beyond one machine: PostgreSQL. On one machine it is `adapters.table_service.sqlite`."""
