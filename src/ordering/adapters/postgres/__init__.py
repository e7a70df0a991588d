"""PostgreSQL: any number of instances on one database, one schema per service."""
