"""A browser without JavaScript for tests of the admin pages: it keeps cookies, follows redirects, fills in forms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from flask import Flask

from tests.support.http import Response, Server

Call = Callable[[str, str, bytes, Mapping[str, str]], Response]

FORM = "application/x-www-form-urlencoded"
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


@dataclass(frozen=True)
class HtmlForm:
    """A form: its `fields` have the values that a browser would send if nobody changed them."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class HtmlPage(HTMLParser):
    """A page: its text with single spaces, its title, its links by text, its forms, and the ids of its elements."""

    def __init__(self, url: str, response: Response) -> None:
        super().__init__()
        self.url, self.status, self.headers = url, response.status, response.headers
        self.source = response.body.decode()
        self.title = ""
        self.links: list[tuple[str, str]] = []
        self.forms: list[HtmlForm] = []
        self.ids: list[str] = []
        self._texts: list[str] = []
        self._stack: list[str] = []
        self._control = ""
        self._option: dict[str, str] = {}
        self.feed(self.source)
        self.text = " ".join(" ".join(self._texts).split())

    def find_form(self, action: str) -> HtmlForm:
        """Return the only form whose action has a path that ends with `action`."""
        forms = [form for form in self.forms if urlsplit(form.action).path.endswith(action)]
        assert len(forms) == 1, (action, [form.action for form in self.forms])
        return forms[0]

    def has_form(self, action: str) -> bool:
        """Return whether there is a form whose action has a path that ends with `action`."""
        return any(urlsplit(form.action).path.endswith(action) for form in self.forms)

    def find_link(self, text: str) -> str:
        """Return the URL of the first link with a text."""
        return next(url for url, link_text in self.links if link_text == text)

    @property
    def urls(self) -> Sequence[str]:
        """The URLs of all links."""
        return [url for url, _ in self.links]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in _VOID:
            self._stack.append(tag)
        match tag:
            case "a":
                self.links.append((attributes.get("href", ""), ""))
            case "form":
                action = urljoin(self.url, attributes.get("action") or urlsplit(self.url).path)
                self.forms.append(HtmlForm(action, attributes.get("method", "get").upper()))
            case "input" | "select" | "textarea":
                self._read_control(tag, attributes)
            case "option":
                self._option = attributes

    def _read_control(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._control = attributes.get("name", "")
        is_sent = attributes.get("type") not in {"checkbox", "radio"} or "checked" in attributes
        if tag != "select" and self._control and is_sent:
            self.forms[-1].fields[self._control] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "option" and ("selected" in self._option or self._control not in self.forms[-1].fields):
            self.forms[-1].fields[self._control] = self._option["value"]
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        match self._stack[-1:]:
            case ["title"]:
                self.title += data
                return
            case ["textarea"]:
                self.forms[-1].fields[self._control] += data
            case ["option"]:
                self._option.setdefault("value", data)
        self._texts.append(data)
        if "a" in self._stack:
            url, text = self.links[-1]
            self.links[-1] = (url, " ".join(f"{text} {data}".split()))


class Browser:
    """A user's browser. `headers` are sent with every call, as by a proxy in front of the service."""

    def __init__(self, call: Call, **headers: str) -> None:
        self._call = call
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}

    def request(self, method: str, url: str, body: bytes = b"", /, **headers: str) -> Response:
        """Make one call with the cookies, and store those of the response."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        all_headers = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        response = self._call(method, target, body, {**all_headers, **({"cookie": cookie} if cookie else {})})
        for name, morsel in SimpleCookie(response.headers.get("set-cookie", "")).items():
            self.cookies[name] = morsel.value
            if not morsel.value:
                del self.cookies[name]
        return response

    def open(self, url: str, **headers: str) -> HtmlPage:
        """Return the page at a URL, after the redirects."""
        return self._follow(url, self.request("GET", url, **headers))

    def submit(self, page: HtmlPage, form_action: str, /, **fields: str) -> HtmlPage:
        """Fill in the form whose action ends with `form_action` and send it; return the page, after the redirects."""
        form = page.find_form(form_action)
        values = form.fields | fields
        if form.method == "GET":
            return self.open(f"{urlsplit(form.action).path}?{urlencode(values)}")
        return self._follow(form.action, self.post(form.action, values))

    def post(self, url: str, fields: Mapping[str, str], **headers: str) -> Response:
        """Send a form that is on no page."""
        return self.request("POST", url, urlencode(fields).encode(), content_type=FORM, **headers)

    def sign_in(self, key: str) -> HtmlPage:
        """Sign in with an API key."""
        return self.submit(self.open("/admin/login"), "/admin/login", key=key)

    def _follow(self, url: str, response: Response) -> HtmlPage:
        for _ in range(5):
            location = response.headers.get("location")
            if location is None or response.status not in {302, 303}:
                return HtmlPage(url, response)
            url = urljoin(url, location)
            response = self.request("GET", url)
        raise AssertionError(f"too many redirects, the last to {url}")


def browse(server: Server, **headers: str) -> Browser:
    """Return a browser that shows the pages of a server."""
    return Browser(Server(server.host, server.port).call, **headers)


def browse_app(app: Flask, **headers: str) -> Browser:
    """Return a browser that shows the pages of an app in this process."""
    client = app.test_client(use_cookies=False)

    def call(method: str, path: str, body: bytes, more: Mapping[str, str]) -> Response:
        response = client.open(path, method=method, data=body, headers=list(more.items()))
        names = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, names, response.get_data())

    return Browser(call, **headers)
