"""What pdpyras makes of the answers to events behind a gateway, printed as one JSON object."""

import json
import os

from pdpyras import EventsAPISession

URL = os.environ["PDKEYS_URL"]
KEYS = json.loads(os.environ["PDKEYS_CREDENTIALS"])


def send(name):
    client = EventsAPISession(KEYS[name])
    client.url = URL
    event = {"event_action": "trigger", "payload": {"summary": "disk full", "source": "db1", "severity": "error"}}
    response = client.post("/v2/enqueue", json=event)
    return [response.status_code, response.json().get("errors")]


print(json.dumps({name: send(name) for name in ["integration", "unknown_integration", "full"]}))
