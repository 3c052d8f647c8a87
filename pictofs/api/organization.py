"""Whose key this is: `client.organization`."""

from __future__ import annotations

from pictofs.api import models
from pictofs.api.models import Organization
from pictofs.api.service import Service
from pictofs.errors import Forbidden, NotFound


class Organizations:
    """The organization of the key."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def me(self) -> Organization:
        """The key's organization. Raises KeyRefused.

        Dialect A has no such endpoint, and a key's role may hide it: then the list of datasets is asked
        instead, which every key may read, and the organization is one without id and slug.
        """
        if self._service.dialect.has("organization"):
            try:
                return models.organization(self._service.one("organization", {}))
            except (Forbidden, NotFound):
                pass  # the list below tells a refused key from a missing endpoint
        self._service.look()
        return Organization()
