"""For fuzz.sh: gives anna a ride that dora drives to its end, and one that is under way.

Usage: known.py URL RIDER_TOKEN DRIVER_TOKEN OPERATOR_TOKEN. Prints lists of ids by the name of the path variable,
for hooks.py.
"""

import json
import sys
import time
import urllib.error
import urllib.request

import websocket

url, rider, driver, operator = sys.argv[1:]
STATION = {"latitude": 43.7384, "longitude": 7.4193}
CASINO = {"latitude": 43.7393, "longitude": 7.4276}
PORT = {"latitude": 43.735, "longitude": 7.4213}
AMOUNT = {"currencyCode": "EUR", "minorUnits": "100"}


def call(token, method, path, body=None, key=None):
    request = urllib.request.Request(url + path, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    if key:
        request.add_header("Idempotency-Key", key)
    data = None if body is None else json.dumps(body).encode()
    if data:
        request.add_header("Content-Type", "application/json")
    # What is refused for a while goes through a moment later, the receipt and the driver's share among it.
    for left in range(60, -1, -1):
        try:
            with urllib.request.urlopen(request, data) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            told = error.read().decode()
            if left == 0 or "REFUSED" in told:
                raise SystemExit(f"{method} {path}: {error.code} {told}") from error
            time.sleep(0.25)


socket = websocket.create_connection(
    url.replace("http", "ws", 1) + "/v1/driver-stream", header=[f"Authorization: Bearer {driver}"], timeout=30
)


def heard(kind):
    """The next message of a kind; others are passed over."""
    while True:
        message = json.loads(socket.recv())
        if kind in message:
            return message[kind]


def say(message):
    socket.send(json.dumps(message))


def ride(key):
    """A ride that dora has accepted."""
    order = {"pickup": CASINO, "dropoff": PORT, "product": "economy"}
    trip = call(rider, "POST", "/v1/trips", order, key)["trip"]
    offer = heard("offer")
    assert offer["tripId"] == trip["tripId"], offer
    call(driver, "POST", f"/v1/trips/{trip['tripId']}/offers/{offer['offerId']}:accept")
    return trip, offer


say({"hello": {}})
heard("welcome")
vehicle = {"plate": "MC 1234", "description": "white hatchback"}
say({"availability": {"available": True, "products": ["economy"], "vehicle": vehicle}})
heard("driverUpdate")
say({"pings": {"batch": "1", "pings": [{"location": STATION}]}})
heard("pingReceipt")

served, offer = ride("served")
path = f"/v1/trips/{served['tripId']}"
call(driver, "POST", path + ":arrive")
call(driver, "POST", path + ":start", {"pin": served["pin"]})
call(driver, "POST", path + ":complete")
call(rider, "GET", path + "/receipt")
sos = call(rider, "POST", path + ":sos", {})
live, _ = ride("live")
payout = call(operator, "POST", "/v1/drivers/dora/payouts", {"amount": AMOUNT}, "payout")["payout"]
quotes = call(rider, "POST", "/v1/quotes", {"pickup": CASINO, "dropoff": PORT})["quotes"]
rounds = call(operator, "GET", "/v1/rounds")["rounds"]
calls = call(operator, "GET", "/v1/sos")
print(
    json.dumps(
        {
            "trip_id": [served["tripId"], live["tripId"]],
            "offer_id": [offer["offerId"]],
            "rider_id": ["anna"],
            "driver_id": ["dora"],
            "quote_id": [quote["quoteId"] for quote in quotes],
            "round_id": [one["roundId"] for one in rounds[:5]],
            "payout_id": [payout["payoutId"]],
            "sos_id": [one["sosId"] for one in next(iter(calls.values()))],
            "month": ["2026-01", served["createdAt"][:7]],
            "policy": ["batched", "immediate"],
        }
    )
)
