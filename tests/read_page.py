"""Pages as they are written: their text, their data, and what is in them."""

import json
from html.parser import HTMLParser

from anomalybench.core.record import results_of
from anomalybench.report import page


class Scripts(HTMLParser):
    """Which elements a page has, and what is in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def written(records, store, title="toy", **options):
    file = page.place(store, title)
    found = [result for record in records for result in results_of(record)]
    page.write(title, found, store, file, **options)
    return file.read_text(encoding="utf-8")


def data_of(text):
    data, _ = Scripts(text).scripts
    return json.loads(data)
