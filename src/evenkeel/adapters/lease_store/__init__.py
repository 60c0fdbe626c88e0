"""Lease stores: SQLite on one machine, PostgreSQL beyond it. Import the module of the one that is used."""
