"""What pdpyras makes of the answers behind a gateway, printed as one JSON object."""

import json
import os

from pdpyras import APISession, PDHTTPError

URL = os.environ["PDKEYS_URL"]
KEYS = json.loads(os.environ["PDKEYS_CREDENTIALS"])


def session(name):
    client = APISession(KEYS[name])
    client.url = URL
    # It would go on asking for ever.
    client.retry[429] = 1
    client.sleep_timer = 0.01
    return client


def code(response):
    return [response.status_code, response.json()["error"]["code"]]


def unknown():
    try:
        session("unknown").get("/incidents")
    except PDHTTPError as error:
        return code(error.response)
    return None


def scoped():
    response = session("scoped").post("/incidents", json={})
    error = response.json()["error"]
    return [response.status_code, error["message"], error["required_scopes"]]


def no_ability():
    response = session("full").get("/incidents")
    return code(response) if response.status_code == 402 else None


limited = session("limited")
print(
    json.dumps(
        {
            "incidents": session("full").get("/incidents").status_code,
            "account_or_user": [session("full").api_key_access, session("user").api_key_access],
            "unknown": unknown(),
            "no_ability": no_ability(),
            "read_only": code(session("read_only").post("/incidents", json={})),
            "scoped": scoped() if no_ability() is None else None,
            "limited": [limited.get("/incidents").status_code, *code(limited.get("/incidents"))],
        }
    )
)
