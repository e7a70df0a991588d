"""The schema registry over the network. Imported only where the mode or a command needs it: its driver is an extra."""

from ordering.adapters.avro.registry_api import RegistryApi
from ordering.adapters.avro.subjects import SchemaSubjects
from ordering.entrypoints.settings import Settings


def registry_api(settings: Settings) -> RegistryApi:
    """How the registry is reached; to be closed, directly or by what is built on it. Raises Refused."""
    return RegistryApi(
        settings.schema_registry_url or "",
        user=settings.schema_registry_user,
        password=settings.schema_registry_password,
        ca=settings.schema_registry_ca,
        certificate=settings.schema_registry_certificate,
        key=settings.schema_registry_key,
    )


def schema_subjects(settings: Settings) -> SchemaSubjects:
    """The topic's subjects against the released schemas; to be closed. Raises Refused."""
    return SchemaSubjects(registry_api(settings), settings.topic)
