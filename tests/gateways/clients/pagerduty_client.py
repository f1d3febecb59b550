"""What the pagerduty package makes of the answers behind a gateway, printed as one JSON object."""

import json
import os
import ssl

from pagerduty import OAuthTokenClient, RestApiV2Client
from pagerduty.errors import HttpError

URL = os.environ["PDKEYS_URL"]
KEYS = json.loads(os.environ["PDKEYS_CREDENTIALS"])
TRUSTED = ssl.create_default_context(cafile=os.environ["PDKEYS_AUTHORITY"])


def patient(client):
    # It would go on asking for ever.
    client.retry[429] = 1
    client.sleep_timer = 0.01
    return client


def client(name):
    return patient(RestApiV2Client(KEYS[name], base_url=URL, verify=TRUSTED))


def code(response):
    return [response.status_code, response.json()["error"]["code"]]


def unknown():
    try:
        client("unknown").get("/incidents")
    except HttpError as error:
        return code(error.response)
    return None


def scoped():
    response = client("scoped").post("/incidents", json={})
    error = response.json()["error"]
    return [response.status_code, error["message"], error["required_scopes"]]


def oauth(secret):
    return patient(OAuthTokenClient(secret, KEYS["client_id"], base_url=URL, verify=TRUSTED))


def app_token():
    granted = oauth(KEYS["client_secret"]).get_scoped_app_token("as_account-us.acme incidents.read")
    with_it = RestApiV2Client(granted["access_token"], auth_type="bearer", base_url=URL, verify=TRUSTED)
    return {
        "scope": granted["scope"],
        "token_type": granted["token_type"],
        "expires_in": granted["expires_in"],
        "incidents": with_it.get("/incidents").status_code,
        "users": with_it.get("/users").status_code,
    }


def refused(secret, scope):
    try:
        oauth(secret).get_scoped_app_token(scope)
    except HttpError as error:
        return [error.response.status_code, error.response.json()["error"]]
    return None


limited = client("limited")
print(
    json.dumps(
        {
            "incidents": client("full").get("/incidents").status_code,
            "account_or_user": [client("full").api_key_access, client("user").api_key_access],
            "unknown": unknown(),
            "read_only": code(client("read_only").post("/incidents", json={})),
            "scoped": scoped(),
            "limited": [limited.get("/incidents").status_code, *code(limited.get("/incidents"))],
            "app_token": app_token(),
            "wrong_secret": refused("pdcs_" + "x" * 43, "as_account-us.acme incidents.read"),
            "wrong_scope": refused(KEYS["client_secret"], "as_account-us.acme incidents.write"),
        }
    )
)
