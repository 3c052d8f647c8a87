"""The Developer API: what the service has, in no dialect.

    client      Client, the one object others hold
    datasets, images, annotations, exports, projects, organization
                what can be asked, in the vendor's words
    service     which dialect is spoken; a request by what is meant, an answer out of its envelope
    dialect     pure: the tables of paths and bodies of the three dialects
    models, shapes
                pure: rows → frozen structs
    paging      pure: walking a list that changes meanwhile
    transport   one request: retries, deadline, redirects, refusals
    downloads   what a download is told and brings back; who carries it out lies above this room
    governor    the hour's budget, and the reserve of it that is kept for demand
    refusals, documents, times, address
                pure: errors, JSON, dates and URLs as the service writes them
    wire        one HTTP exchange; the only module here that imports `requests`
"""

from pictofs.api.client import Client
from pictofs.api.downloads import DownloadFailure, DownloadReport
from pictofs.api.governor import Budget
from pictofs.api.models import Dataset, Export, Image, Link, Links, Organization
from pictofs.api.paging import Pager
from pictofs.api.shapes import Annotation

__all__ = [
    "Annotation",
    "Budget",
    "Client",
    "Dataset",
    "DownloadFailure",
    "DownloadReport",
    "Export",
    "Image",
    "Link",
    "Links",
    "Organization",
    "Pager",
]
