"""The pages, each with a name, for screenshots and checks of all of them."""

from collections.abc import Mapping

from tests.browser.service import CAMPAIGNS, Stories


def list_pages(stories: Stories) -> Mapping[str, str]:
    """Return the targets of the pages by name."""
    return {
        "overview": "/admin/",
        "requests": "/admin/requests",
        "request": f"/admin/requests/{stories.cancelled_request}",
        "jobs": "/admin/jobs",
        "no-jobs": "/admin/jobs?reference=nothing-like-this",
        "invalid-filter": "/admin/jobs?status=done",
        "job": f"/admin/jobs/{stories.disputed_job}",
        "callbacks": "/admin/callbacks",
        "callback": f"/admin/callbacks/{stories.unmapped_callback}",
        "refused-callback": f"/admin/callbacks/{stories.refused_callback}",
        "providers": "/admin/providers",
        "provider": "/admin/providers/acme",
        "catalog": "/admin/providers/catalog?field=sms",
        "catalog-entry": "/admin/providers/catalog/twilio",
        "keys": "/admin/keys",
        "notifications": "/admin/notifications",
        "search": f"/admin/search?q=metadata.campaign%3D{CAMPAIGNS[0]}",
        "unknown-page": "/admin/nothing-here",
    }
